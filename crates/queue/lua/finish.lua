#!lua flags=allow-oom
-- Committed: the claim says so for a while, to whoever comes with a duplicate.
--
-- KEYS: claim    ARGV: own token, how long to remember in ms
-- Returns: 1, or 0 when the claim is not ours
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
return 1
