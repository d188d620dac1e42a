#!lua flags=allow-oom
-- Forgets jobs that are done: nothing finished stays, so nothing has to be swept.
-- One that was taken away meanwhile is left to whoever has it now; the ledger makes that run harmless.
--
-- KEYS: the worker's inflight, data
-- ARGV: meta prefix, id..
-- Returns: how many were settled
local settled = 0
for i = 2, #ARGV do
  if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('DEL', ARGV[1] .. ':' .. ARGV[i])
    settled = settled + 1
  end
end
return settled
