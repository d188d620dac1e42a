#!lua flags=allow-oom
-- Hands ready jobs to a worker. Nothing in the list can make it fail: what is no job is dropped, and named.
-- allow-oom, here and below: a full Redis must be emptied, and emptying it writes.
--
-- KEYS: workers, active, scheduled, data, the worker's inflight, incarnation, incarnations
-- ARGV: worker, meta prefix, most jobs, most bytes
-- Returns: false when the worker is not registered; else {{id, bytes, unclean starts, of these alone, ms since first
--          deferred or -1, 1 if it is called by numbers that nobody was given, or 0}, ..}, {dropped id, ..}, ms until the next
--          scheduled job is due (-1: there is none)
local worker, meta, most_jobs, most_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not redis.call('ZSCORE', KEYS[1], worker) then return false end

-- 1000, because Lua's unpack ends at 8000: the rest is due at the next fetch.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZRANGE', KEYS[3], '-inf', string.format('%.6f', now), 'BYSCORE', 'LIMIT', 0, 1000)
if #due > 0 then
  redis.call('RPUSH', KEYS[2], unpack(due))
  redis.call('ZREM', KEYS[3], unpack(due))
end

-- Whoever writes past the script that gives the numbers may call a job by those that are yet to be given, and their raw
-- events would then seem to have ended. Of an incarnation that Redis does not remember it says nothing.
local now_giving = redis.call('HMGET', KEYS[6], 'id', 'last')
local function is_ahead(id)
  local incarnation, first, count = string.match(id, '^(%x+)%-(%d+)%-(%d+)$')
  if not incarnation then return 0 end
  local last = incarnation == now_giving[1] and now_giving[2] or redis.call('HGET', KEYS[7], incarnation)
  return last and tonumber(first) + tonumber(count) - 1 > tonumber(last) and 1 or 0
end

local jobs, dropped, bytes = {}, {}, 0
while #jobs < most_jobs and bytes < most_bytes and #dropped < 1000 do
  local id = redis.call('LPOP', KEYS[2])
  if not id then break end
  local data = redis.call('HGET', KEYS[4], id)
  if not data then
    redis.call('DEL', meta .. ':' .. id)
    dropped[#dropped + 1] = id
  elseif redis.call('SADD', KEYS[5], id) == 0 then
    dropped[#dropped + 1] = id
  else
    -- pcall: what lies under a foreign job's name may be of another type.
    local known = redis.pcall('HMGET', meta .. ':' .. id, 'unclean', 'unclean_alone', 'deferred_at')
    local unclean, alone = tonumber(known[1] or 0), tonumber(known[2] or 0)
    local deferred_at = known[3] and tonumber(known[3])
    local deferred_for = deferred_at and math.max(0, math.floor((now - deferred_at) * 1000)) or -1
    jobs[#jobs + 1] = { id, data, unclean or 0, alone or 0, deferred_for, is_ahead(id) }
    bytes = bytes + #data
  end
end

local next_due = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local wait = next_due[2] and math.max(0, math.ceil((tonumber(next_due[2]) - now) * 1000)) or -1
return { jobs, dropped, wait }
