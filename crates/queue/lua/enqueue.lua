#!lua
-- Stamps raw events and makes their jobs ready, all or nothing. A full Redis refuses before the first line (no
-- allow-oom). INFO on every call costs 7 us and leaves no gap: a restarted or replaced Redis is noticed by its first
-- enqueue.
--
-- KEYS: active, data, incarnation, incarnations
-- ARGV: meta prefix, channel, id of an incarnation that may have to begin, then three a job:
--       how many new raw events it carries, its name if it carries none, its bytes
-- Returns: the incarnation, the first number of each job (0 where it has none)
local meta, channel, candidate = ARGV[1], ARGV[2], ARGV[3]

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
for i = 4, #ARGV, 3 do
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
if was_empty then redis.call('PUBLISH', channel, '') end
return { incarnation, firsts }
