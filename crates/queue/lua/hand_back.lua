#!lua flags=allow-oom
-- Gives jobs back that a worker holds and will not do. To the head: they have waited longest. It lives: had it started one
-- alone, that was no unclean start.
--
-- KEYS: the worker's inflight, active
-- ARGV: channel, meta prefix, id..
-- Returns: how many were given back
local was_empty = redis.call('LLEN', KEYS[2]) == 0
local back = 0
for i = 3, #ARGV do
  if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    redis.pcall('HDEL', ARGV[2] .. ':' .. ARGV[i], 'alone')
    redis.call('LPUSH', KEYS[2], ARGV[i])
    back = back + 1
  end
end
if was_empty and back > 0 then redis.call('PUBLISH', ARGV[1], '') end
return back
