#!lua flags=no-writes
-- How many jobs are where, at one moment.
--
-- KEYS: active, scheduled, dead, data, workers
-- ARGV: inflight prefix, meta prefix
-- Returns: ready, scheduled, inflight, dead, all that have data, the time in ms, when the oldest ready job was enqueued in ms (0:
--          that was not written down), and its name
local inflight = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  inflight = inflight + redis.call('SCARD', ARGV[1] .. ':' .. worker)
end
local time, oldest, enqueued_at = redis.call('TIME'), redis.call('LINDEX', KEYS[1], 0), 0
if oldest then
  local at = redis.pcall('HGET', ARGV[2] .. ':' .. oldest, 'enqueued_at')
  enqueued_at = type(at) == 'string' and math.floor((tonumber(at) or 0) * 1000) or 0
end
return {
  redis.call('LLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), inflight, redis.call('SCARD', KEYS[3]),
  redis.call('HLEN', KEYS[4]), time[1] * 1000 + math.floor(time[2] / 1000), enqueued_at, oldest,
}
