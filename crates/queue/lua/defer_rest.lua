#!lua flags=allow-oom
-- Puts off what is left of a job: each raw event of that is a job of its own then, due later, under the number that it has
-- and with what is known of the job. The others are done with. Workers that wait for what is due next are woken if something is
-- due before it.
--
-- KEYS: the worker's inflight, data, scheduled
-- ARGV: meta prefix, id of the job, delay in ms, the channel, then two a raw event that is left: id, bytes
-- Returns: 1, or 0 when the worker does not hold the job any more
local meta, id = ARGV[1] .. ':', ARGV[2]
if redis.call('SREM', KEYS[1], id) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.pcall('HDEL', meta .. id, 'alone')
redis.pcall('HSETNX', meta .. id, 'deferred_at', string.format('%.3f', now))
local known = redis.call('HGETALL', meta .. id)
redis.call('HDEL', KEYS[2], id)
local next_due = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
redis.call('DEL', meta .. id)
for i = 5, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('HSET', meta .. ARGV[i], unpack(known))
  redis.call('ZADD', KEYS[3], string.format('%.3f', now + ARGV[3] / 1000), ARGV[i])
end
if redis.call('ZRANGE', KEYS[3], 0, 0)[1] ~= next_due then redis.call('PUBLISH', ARGV[4], '') end
return 1
