#!lua flags=allow-oom
-- Takes one dead worker's jobs back, a chunk a call, each with an unclean start more, which counts apart where the job ran
-- alone; at the last chunk the worker is forgotten. Dead is who has not beaten for its own lease; a stranger's lease is the caller's word.
--
-- A Redis that was away has heard nobody: until it is up for a worker's lease, none of ours is dead.
--
-- KEYS: workers, active
-- ARGV: inflight prefix, metadata prefix, meta prefix, channel, a stranger's lease in ms, chunk
-- Returns: false when nobody is dead; else worker, how many jobs came back
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local up_for = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) * 1000
local workers = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #workers, 2 do
  local worker, beat = workers[i], tonumber(workers[i + 1])
  local metadata = ARGV[2] .. ':' .. worker
  local own = redis.call('HGET', metadata, 'lease_ms')
  local lease = tonumber(own or ARGV[5])
  if (now - beat) * 1000 > lease and (not own or up_for >= lease) then
    local chunk = tonumber(ARGV[6])
    local ids = redis.call('SPOP', ARGV[1] .. ':' .. worker, chunk)
    local was_empty = redis.call('LLEN', KEYS[2]) == 0
    for _, id in ipairs(ids) do
      local meta = ARGV[3] .. ':' .. id
      redis.pcall('HINCRBY', meta, 'unclean', 1)
      if redis.pcall('HDEL', meta, 'alone') == 1 then redis.call('HINCRBY', meta, 'unclean_alone', 1) end
      redis.call('RPUSH', KEYS[2], id)
    end
    if #ids < chunk then
      redis.call('ZREM', KEYS[1], worker)
      redis.call('DEL', metadata)
    end
    if was_empty and #ids > 0 then redis.call('PUBLISH', ARGV[4], '') end
    return { worker, #ids }
  end
end
return false
