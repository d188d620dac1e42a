#!lua
-- Stamps raw events and makes their jobs ready, all or nothing. A full Redis refuses before the first line (no
-- allow-oom). INFO on every call costs 7 us and leaves no gap: a restarted or replaced Redis is noticed by its first
-- enqueue.
--
-- A request that was sent under a key of its sender's choice is remembered with the numbers that it was given, in the same
-- step, so that no crash falls between the two. What is remembered of a source are two generations: a new one begins after a
-- day, or when one is full, and the one before the last is forgotten. So a key is known for a day, or until so many more
-- were used; and the memory is bounded.
--
-- KEYS: active, data, incarnation, incarnations, and for a request under a key: the source's two generations, the new first
-- ARGV: meta prefix, channel, id of an incarnation that may have to begin,
--       hash of the key (or nothing), hash of the request, seconds in a day, the most keys of a generation,
--       then three a job: how many new raw events it carries, its name if it carries none, its bytes
-- Returns: 'enqueued', 'known' or 'other', the incarnation, the first number of each job (0 where it has none). A known
--       request is answered with what it was given then, the first number of all; another one under its key with nothing.
local meta, channel, candidate = ARGV[1], ARGV[2], ARGV[3]
local key, request, day, most = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

if key ~= '' then
  local known = redis.call('HGET', KEYS[5], key) or redis.call('HGET', KEYS[6], key)
  if known then
    local incarnation, first = string.match(string.sub(known, #request + 1), '^(%w+)-(%d+)$')
    if string.sub(known, 1, #request) ~= request then return { 'other', '', {} } end
    return { 'known', incarnation, { tonumber(first) } }
  end
end

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.call('HMGET', KEYS[3], 'id', 'run_id', 'last')
local incarnation, last = known[1], tonumber(known[3] or 0)
if known[2] ~= run_id then
  if incarnation then redis.call('HSET', KEYS[4], incarnation, last) end
  incarnation, last = candidate, 0
  redis.call('HSET', KEYS[3], 'id', incarnation, 'run_id', run_id)
end

local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local was_empty = redis.call('LLEN', KEYS[1]) == 0
local firsts = {}
for i = 8, #ARGV, 3 do
  local count, id, bytes = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local first = 0
  if count > 0 then
    first, last = last + 1, last + count
    id = string.format('%s-%d-%d', incarnation, first, count)
  end
  redis.call('HSET', KEYS[2], id, bytes)
  -- The first three are what apalis-redis cannot read a job without.
  redis.call('HSET', meta .. ':' .. id, 'attempts', 0, 'max_attempts', 25, 'status', 'Pending', 'enqueued_at', now)
  redis.call('RPUSH', KEYS[1], id)
  firsts[#firsts + 1] = first
end
redis.call('HSET', KEYS[3], 'last', string.format('%d', last))
if key ~= '' then
  local left = redis.call('TTL', KEYS[5])
  if left >= 0 and (left <= day or redis.call('HLEN', KEYS[5]) >= most) then
    -- Not left to RENAME, which would free what was there before it returns.
    redis.call('UNLINK', KEYS[6])
    redis.call('RENAME', KEYS[5], KEYS[6])
    left = -2
  end
  -- Joined, not formatted: to Lua's %s a hash ends at its first zero.
  redis.call('HSET', KEYS[5], key, request .. incarnation .. string.format('-%d', firsts[1]))
  if left < 0 then redis.call('EXPIRE', KEYS[5], 2 * day) end
end
if was_empty then redis.call('PUBLISH', channel, '') end
return { 'enqueued', incarnation, firsts }
