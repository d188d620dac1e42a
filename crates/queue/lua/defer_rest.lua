#!lua flags=allow-oom
-- Puts off what is left of a job: each raw event of that is a job of its own then, due later, under the number that it has
-- and with what is known of the job. The others are done with.
--
-- KEYS: the worker's inflight, data, scheduled
-- ARGV: meta prefix, id of the job, delay in ms, then two a raw event that is left: id, bytes
-- Returns: 1, or 0 when the worker does not hold the job any more
local meta, id = ARGV[1] .. ':', ARGV[2]
if redis.call('SREM', KEYS[1], id) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.pcall('HDEL', meta .. id, 'alone')
redis.pcall('HSETNX', meta .. id, 'deferred_at', string.format('%.3f', now))
local known = redis.call('HGETALL', meta .. id)
redis.call('HDEL', KEYS[2], id)
redis.call('DEL', meta .. id)
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('HSET', meta .. ARGV[i], unpack(known))
  redis.call('ZADD', KEYS[3], string.format('%.3f', now + ARGV[3] / 1000), ARGV[i])
end
return 1
