#!lua
-- Takes claims that nobody has.
-- Nothing said of claims is written to the append-only file or sent to a replica, here and in the scripts that renew, finish
-- and let go: who starts from those finds no claims, and the ledger decides.
--
-- KEYS: claims    ARGV: own token of each, lease in ms
-- Returns: of each what was there (false: nothing, and it is ours now)
redis.set_repl(redis.REPL_NONE)
local found = {}
for i, claim in ipairs(KEYS) do found[i] = redis.call('SET', claim, ARGV[i], 'NX', 'GET', 'PX', ARGV[#ARGV]) end
return found
