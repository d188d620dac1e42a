#!lua flags=allow-oom
-- Earlier runs of the same raw events hold these claims: from now on this run does. Compared with what was seen, so that
-- of two that try one succeeds. From here on the earlier run's renew, release and finish are refused.
--
-- KEYS: claims    ARGV: two of each: token seen, own token; then the lease in ms
-- Returns: of each 1 when it is ours, else what is there now (false: nothing)
redis.set_repl(redis.REPL_NONE)
local taken = {}
for i, claim in ipairs(KEYS) do
  local found = redis.call('GET', claim)
  if found == ARGV[2 * i - 1] then
    redis.call('SET', claim, ARGV[2 * i], 'PX', ARGV[#ARGV])
    found = 1
  end
  taken[i] = found
end
return taken
