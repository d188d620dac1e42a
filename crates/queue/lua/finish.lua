#!lua flags=allow-oom
-- Committed: the claims say so for a while, to whoever comes with a duplicate.
--
-- KEYS: claims    ARGV: own token of each, how long to remember in ms
-- Returns: how many are not ours
redis.set_repl(redis.REPL_NONE)
local refused = 0
for i, found in ipairs(redis.call('MGET', unpack(KEYS))) do
  if found == ARGV[i] then redis.call('SET', KEYS[i], 'done', 'PX', ARGV[#ARGV]) else refused = refused + 1 end
end
return refused
