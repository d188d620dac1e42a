#!lua flags=allow-oom
-- Puts jobs off: out of the worker's hands, due again later. Their attempts stay as they are; when a job was put off for the
-- first time is kept, so that it does not wait for others' claims for ever.
--
-- KEYS: the worker's inflight, scheduled
-- ARGV: meta prefix, then two a job: id, delay in ms
-- Returns: how many were deferred
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local deferred = 0
for i = 2, #ARGV, 2 do
  if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    redis.pcall('HSETNX', ARGV[1] .. ':' .. ARGV[i], 'deferred_at', string.format('%.3f', now))
    redis.call('ZADD', KEYS[2], string.format('%.3f', now + ARGV[i + 1] / 1000), ARGV[i])
    deferred = deferred + 1
  end
end
return deferred
