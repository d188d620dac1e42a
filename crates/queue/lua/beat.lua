#!lua flags=allow-oom
-- Registers a worker, or says that it is still alive. By Redis's clock: the workers' clocks are never compared.
--
-- KEYS: workers, the worker's metadata
-- ARGV: worker, lease in ms, '1' to register
-- Returns: 0 when the worker was to be registered and is not: it was taken for dead
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], 'backend_name', 'latchhook', 'service', 'latchhook', 'lease_ms', ARGV[2])
elseif not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
return 1
