#!lua flags=no-writes
-- How many jobs are where, at one moment.
--
-- KEYS: active, scheduled, dead, data, workers
-- ARGV: inflight prefix, meta prefix
-- Returns: ready, scheduled, inflight, dead, all that have data, ms since the oldest ready job was enqueued (-1:
--          unknown)
local inflight = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  inflight = inflight + redis.call('SCARD', ARGV[1] .. ':' .. worker)
end
local age, oldest = -1, redis.call('LINDEX', KEYS[1], 0)
if oldest then
  local at = redis.pcall('HGET', ARGV[2] .. ':' .. oldest, 'enqueued_at')
  if type(at) == 'string' and tonumber(at) then
    local time = redis.call('TIME')
    age = math.max(0, math.floor((time[1] + time[2] / 1000000 - tonumber(at)) * 1000))
  end
end
return {
  redis.call('LLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), inflight, redis.call('SCARD', KEYS[3]),
  redis.call('HLEN', KEYS[4]), age,
}
