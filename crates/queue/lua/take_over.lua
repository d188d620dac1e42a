#!lua flags=allow-oom
-- An earlier run of the same raw event holds the claim: from now on this run does. Compared with what was seen, so that
-- of two that try one succeeds. From here on the earlier run's renew, release and finish are refused.
--
-- KEYS: claim    ARGV: token seen, own token, lease in ms
-- Returns: 1 when it is ours, else what is there now (false: nothing)
local found = redis.call('GET', KEYS[1])
if found ~= ARGV[1] then return found end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
