#!lua flags=allow-oom
-- Forgets jobs that are done: nothing finished stays, so nothing has to be swept.
-- One that was taken away meanwhile is left to whoever has it now; the ledger makes that run harmless.
--
-- KEYS: the worker's inflight, data
-- ARGV: meta prefix, id..
-- Returns: how many were settled
local held, metas = {}, {}
for i, is_held in ipairs(redis.call('SMISMEMBER', KEYS[1], unpack(ARGV, 2))) do
  if is_held == 1 then
    held[#held + 1] = ARGV[i + 1]
    metas[#metas + 1] = ARGV[1] .. ':' .. ARGV[i + 1]
  end
end
if #held == 0 then return 0 end
redis.call('HDEL', KEYS[2], unpack(held))
redis.call('DEL', unpack(metas))
return redis.call('SREM', KEYS[1], unpack(held))
