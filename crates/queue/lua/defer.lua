#!lua flags=allow-oom
-- Puts jobs off: out of the worker's hands, due again later. Their attempts stay as they are; when a job was put off for the
-- first time is kept, so that it does not wait for others' claims for ever. One that panicked has had an unclean start,
-- as if its worker had died. Workers that wait for what is due next are woken if something is due before it.
--
-- KEYS: the worker's inflight, scheduled
-- ARGV: meta prefix, '1' if they panicked, the channel, then two a job: id, delay in ms
-- Returns: how many were deferred
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local next_due = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
local deferred = 0
for i = 4, #ARGV, 2 do
  if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    local meta = ARGV[1] .. ':' .. ARGV[i]
    redis.pcall('HSETNX', meta, 'deferred_at', string.format('%.3f', now))
    local was_alone = redis.pcall('HDEL', meta, 'alone') == 1
    if ARGV[2] == '1' then
      redis.pcall('HINCRBY', meta, 'unclean', 1)
      if was_alone then redis.call('HINCRBY', meta, 'unclean_alone', 1) end
    end
    redis.call('ZADD', KEYS[2], string.format('%.3f', now + ARGV[i + 1] / 1000), ARGV[i])
    deferred = deferred + 1
  end
end
if redis.call('ZRANGE', KEYS[2], 0, 0)[1] ~= next_due then redis.call('PUBLISH', ARGV[3], '') end
return deferred
