#!lua flags=allow-oom
-- Makes one job many, in its place: each has what is known of it, its unclean starts too, but not that it has started
-- alone. To the head: they have waited longest.
--
-- KEYS: the worker's inflight, data, active
-- ARGV: meta prefix, channel, id, then two a part, the last one first: id, bytes
-- Returns: 1, or 0 when the worker does not hold the job any more
local meta, id = ARGV[1], ARGV[3]
if redis.call('SREM', KEYS[1], id) == 0 then return 0 end
redis.call('HDEL', meta .. ':' .. id, 'alone')
local known = redis.call('HGETALL', meta .. ':' .. id)
redis.call('HDEL', KEYS[2], id)
redis.call('DEL', meta .. ':' .. id)
local was_empty = redis.call('LLEN', KEYS[3]) == 0
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  if #known > 0 then redis.call('HSET', meta .. ':' .. ARGV[i], unpack(known)) end
  redis.call('LPUSH', KEYS[3], ARGV[i])
end
if was_empty then redis.call('PUBLISH', ARGV[2], '') end
return 1
