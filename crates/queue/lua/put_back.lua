#!lua flags=allow-oom
-- Nobody here puts a job into apalis's dead set. What is found there is made ready again, a chunk a call.
--
-- KEYS: dead, active, data
-- ARGV: meta prefix, channel, chunk
-- Returns: how many jobs were put back
local ids = redis.call('SPOP', KEYS[1], tonumber(ARGV[3]))
local was_empty = redis.call('LLEN', KEYS[2]) == 0
local back = 0
for _, id in ipairs(ids) do
  if redis.call('HEXISTS', KEYS[3], id) == 1 then
    redis.pcall('HSET', ARGV[1] .. ':' .. id, 'status', 'Pending', 'attempts', 0)
    redis.call('RPUSH', KEYS[2], id)
    back = back + 1
  else
    redis.call('DEL', ARGV[1] .. ':' .. id)
  end
end
if was_empty and back > 0 then redis.call('PUBLISH', ARGV[2], '') end
return back
