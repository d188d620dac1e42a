#!lua flags=allow-oom
-- Puts jobs off: out of the worker's hands, due again later. Their attempts stay as they are.
--
-- KEYS: the worker's inflight, scheduled
-- ARGV: id, delay in ms, ..
-- Returns: how many were deferred
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local deferred = 0
for i = 1, #ARGV, 2 do
  if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], string.format('%.3f', now + ARGV[i + 1] / 1000), ARGV[i])
    deferred = deferred + 1
  end
end
return deferred
