#!lua
-- Takes claims that nobody has. A claim says whose it is: its raw event and the run. What of a run is said once for all of its
-- claims, in a key of its own, because a word for each claim was half of what claims cost: held, as long as its lease is
-- renewed, and then done. Where there is no such key the run is over, and its claims are nobody's. Those of an earlier run of
-- the same raw event are this run's from now on, whatever that one still says.
-- Nothing said of claims is written to the append-only file or sent to a replica, here and in the scripts that renew, finish
-- and let go: who starts from those finds no claims, and the ledger decides.
--
-- KEYS: the run, claims    ARGV: own token of each, lease in ms, how long a claim stands in ms
-- Returns: of each what was there (false: nothing that still counts, and it is ours now), or 'done'
redis.set_repl(redis.REPL_NONE)
local stands, runs, said, found = ARGV[#ARGV], string.sub(KEYS[1], 1, -17), {}, {}
if redis.call('GET', KEYS[1]) ~= 'done' then redis.call('SET', KEYS[1], 'held', 'PX', ARGV[#ARGV - 1]) end

local function said_of(token)
  local run = string.sub(token, -16)
  if said[run] == nil then said[run] = redis.call('GET', runs .. run) end
  return said[run]
end

for i = 2, #KEYS do
  local own = ARGV[i - 1]
  local token = redis.call('SET', KEYS[i], own, 'NX', 'GET', 'PX', stands)
  if token then
    local state, is_same_raw_event = said_of(token), string.sub(token, 1, -17) == string.sub(own, 1, -17)
    if state == 'done' then
      token = state
    elseif not state or is_same_raw_event then
      redis.call('SET', KEYS[i], own, 'PX', stands)
      token = state and token
    end
  end
  found[i - 1] = token
end
return found
