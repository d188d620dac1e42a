#!lua flags=allow-oom
-- A worker goes: what it still holds is given back, a chunk a call, and a start alone was no unclean one; with the last
-- chunk the worker is forgotten.
--
-- KEYS: the worker's inflight, active, workers, the worker's metadata
-- ARGV: channel, worker, chunk, meta prefix
-- Returns: how many jobs were given back by this call
local chunk = tonumber(ARGV[3])
local was_empty = redis.call('LLEN', KEYS[2]) == 0
local ids = redis.call('SPOP', KEYS[1], chunk)
for _, id in ipairs(ids) do
  redis.pcall('HDEL', ARGV[4] .. ':' .. id, 'alone')
  redis.call('LPUSH', KEYS[2], id)
end
if #ids < chunk then
  redis.call('ZREM', KEYS[3], ARGV[2])
  redis.call('DEL', KEYS[4])
end
if was_empty and #ids > 0 then redis.call('PUBLISH', ARGV[1], '') end
return #ids
