#!lua flags=allow-oom
-- Hands ready jobs to a worker. Nothing in the list can make it fail: what is no job is dropped, and named.
-- allow-oom, here and below: a full Redis must be emptied, and emptying it writes.
--
-- The names alone, whose bytes are read without a script: Redis's Lua hashes each string that it is given from end to end,
-- and a body would be copied three times more. Many together, where a command takes many: each command of a script is one in
-- the append-only file too.
--
-- KEYS: workers, active, scheduled, data, the worker's inflight, incarnation, incarnations
-- ARGV: worker, meta prefix, most jobs, most bytes
-- Returns: false when the worker is not registered; else {id, ..}, {{place of an id that has a history, {unclean
--          starts, of these alone, ms since first deferred or -1}}, ..}, {dropped id, ..}, ms until the next scheduled job is
--          due (-1: there is none), {incarnation, its last number, ..} as of this moment
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

-- What is known of a job beside its bytes, if anything is. pcall: what lies under a foreign job's name may be of another type.
local function history(place, id)
  local known = redis.pcall('HMGET', meta .. ':' .. id, 'unclean', 'unclean_alone', 'deferred_at')
  if not (known[1] or known[2] or known[3]) then return nil end
  local deferred_at = tonumber(known[3])
  local deferred_for = deferred_at and math.max(0, math.floor((now - deferred_at) * 1000)) or -1
  return { place, { tonumber(known[1]) or 0, tonumber(known[2]) or 0, deferred_for } }
end

-- Of the jobs from that place on, which are asked together whether there is anything: mostly there is not.
local function add_histories(ids, from, histories)
  local metas = {}
  for place = from, #ids do metas[#metas + 1] = meta .. ':' .. ids[place] end
  if redis.call('EXISTS', unpack(metas)) == 0 then return end
  for place = from, #ids do histories[#histories + 1] = history(place, ids[place]) end
end

local ids, histories, dropped, bytes = {}, {}, {}, 0
while #ids < most_jobs and bytes < most_bytes and #dropped < 1000 do
  local next_ids = redis.call('LRANGE', KEYS[2], 0, math.min(most_jobs - #ids, 1000) - 1)
  if #next_ids == 0 then break end
  local is_held, seen, before, done = redis.call('SMISMEMBER', KEYS[5], unpack(next_ids)), {}, #ids, 0
  while done < #next_ids and bytes < most_bytes do
    done = done + 1
    local id = next_ids[done]
    local length = redis.call('HSTRLEN', KEYS[4], id)
    if length == 0 and redis.call('HEXISTS', KEYS[4], id) == 0 then
      redis.call('DEL', meta .. ':' .. id)
      dropped[#dropped + 1] = id
    elseif is_held[done] == 1 or seen[id] then
      dropped[#dropped + 1] = id
    else
      seen[id], ids[#ids + 1], bytes = true, id, bytes + length
    end
  end
  redis.call('LTRIM', KEYS[2], done, -1)
  if #ids > before then
    redis.call('SADD', KEYS[5], unpack(ids, before + 1))
    add_histories(ids, before + 1, histories)
  end
end

local next_due = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local wait = next_due[2] and math.max(0, math.ceil((tonumber(next_due[2]) - now) * 1000)) or -1

-- pcall: others may write there. A number that is yet to be given is told from one that was given by what stands there now.
local lasts = redis.pcall('HGETALL', KEYS[7])
if lasts.err then lasts = {} end
local now_giving = redis.pcall('HMGET', KEYS[6], 'id', 'last')
if now_giving[1] and now_giving[2] then
  lasts[#lasts + 1] = now_giving[1]
  lasts[#lasts + 1] = now_giving[2]
end
return { ids, histories, dropped, wait, lasts }
