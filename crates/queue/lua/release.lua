-- Lets go of claims, for others.
--
-- KEYS: claims    ARGV: own token of each
-- Returns: how many are not ours
redis.set_repl(redis.REPL_NONE)
local refused = 0
for i, claim in ipairs(KEYS) do
  if redis.call('GET', claim) == ARGV[i] then redis.call('DEL', claim) else refused = refused + 1 end
end
return refused
