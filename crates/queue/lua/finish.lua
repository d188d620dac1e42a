#!lua flags=allow-oom
-- Committed: the claims say so for a while, to whoever comes with a duplicate.
--
-- KEYS: claims    ARGV: own token of each, how long to remember in ms
-- Returns: how many are not ours
local refused = 0
for i, claim in ipairs(KEYS) do
  if redis.call('GET', claim) == ARGV[i] then redis.call('SET', claim, 'done', 'PX', ARGV[#ARGV]) else refused = refused + 1 end
end
return refused
