#!lua flags=no-writes
-- How many jobs are where, at one moment.
--
-- KEYS: active, scheduled, dead, data, workers
-- ARGV: inflight prefix
-- Returns: ready, scheduled, inflight, dead, all that have data
local inflight = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  inflight = inflight + redis.call('SCARD', ARGV[1] .. ':' .. worker)
end
return {
  redis.call('LLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), inflight, redis.call('SCARD', KEYS[3]), redis.call('HLEN', KEYS[4]),
}
