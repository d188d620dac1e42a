#!lua
-- Puts raw events into latchhook's inbound queue, from any language: docs/direct-to-redis.md is the contract. Checks them,
-- stamps them, and makes their job ready, all or nothing. A full Redis refuses before the first line (no allow-oom).
--
-- KEYS: PREFIX:inbound:active, PREFIX:inbound:data, PREFIX:inbound:incarnation, PREFIX:inbound:incarnations, PREFIX:sources
-- ARGV: '1', then four a raw event: source id, received at (unix ms), headers as JSON ([["name", "value"], ..]), body
-- Returns: the name of each raw event; or an error that begins with REFUSED, and nothing is written
--
-- latchhook's own producer, which has made its jobs already, calls it without the last key:
-- ARGV: 'jobs', hash of a key (or nothing), hash of the request under it, seconds in a day, the most keys of a generation,
--       then three a job: how many new raw events it carries, its name if it carries none, its bytes
-- Returns: 'enqueued', 'known' or 'other', the incarnation, the first number of each job (0 where it has none). A known
--       request is answered with what it was given then, the first number of all; another one under its key with nothing.
--
-- A request that was sent under a key of its sender's choice is remembered with the numbers that it was given, in the same
-- step, so that no crash falls between the two. What is remembered of a source are two generations (KEYS 5 and 6, the new
-- one first): a new one begins after a day, or when one is full, and the one before the last is forgotten. So a key is known
-- for a day, or until so many more were used; and the memory is bounded.
local MOST_RAW_EVENTS, MOST_BYTES, MOST_HEADERS = 64, 8388608, 64

local function array_of(length)
  return length < 16 and string.char(0x90 + length) or '\220' .. struct.pack('>I2', length)
end

local function binary(bytes)
  if #bytes < 0x100 then return '\196' .. string.char(#bytes) .. bytes end
  if #bytes < 0x10000 then return '\197' .. struct.pack('>I2', #bytes) .. bytes end
  return '\198' .. struct.pack('>I4', #bytes) .. bytes
end

-- Or nothing, and what is wrong.
local function encoded_headers(json)
  local ok, headers = pcall(cjson.decode, json)
  if not ok or not string.find(json, '^%s*%[') then return nil, 'the headers are no JSON array of [name, value]' end
  if #headers > MOST_HEADERS then return nil, 'there are more than ' .. MOST_HEADERS .. ' headers' end
  local parts = { array_of(#headers) }
  for _, pair in ipairs(headers) do
    local name, value = unpack(type(pair) == 'table' and #pair == 2 and pair or {})
    if type(name) ~= 'string' or type(value) ~= 'string' then return nil, 'a header is no [name, value] of two strings' end
    if not string.find(name, "^[a-z0-9!#$%%&'*+.^_`|~-]+$") then return nil, 'a header has a name that is none in lower case' end
    if not string.find(value, '^[\t -~]*$') then return nil, 'header ' .. name .. ' has a value that is not printable ASCII' end
    parts[#parts + 1] = array_of(2) .. cmsgpack.pack(name) .. cmsgpack.pack(value)
  end
  return table.concat(parts)
end

-- One raw event, as crates/vocabulary/src/job.rs has it; or nothing, and what is wrong.
local function encoded(source, received_at, headers, body)
  if #source > 64 or not string.find(source, '^[A-Za-z0-9_-]+$') then
    return nil, 'the source id is not 1 to 64 of the characters A-Z a-z 0-9 _ -'
  end
  -- To the year 2255, up to which a Lua number holds each microsecond.
  local ms = string.find(received_at, '^%d+$') and tonumber(received_at)
  if not ms or ms < 1000000000000 or ms > 9007199254740 then
    return nil, 'the time of receipt is no unix time in milliseconds (a time in seconds has to be multiplied by 1000)'
  end
  local fields, why = encoded_headers(headers)
  if not fields then return nil, why end
  return array_of(5) .. cmsgpack.pack(source) .. '\207' .. struct.pack('>I8', ms * 1000) .. fields .. binary(body) .. '\192'
end

-- The arguments of version 1 as one job: its count, no name, its bytes; or nothing, and what is wrong.
local function as_job(prefix)
  if ARGV[1] ~= '1' then return nil, 'this script is version 1 and was called as another: load that one' end
  for place, name in ipairs({ ':inbound:active', ':inbound:data', ':inbound:incarnation', ':inbound:incarnations', ':sources' }) do
    if KEYS[place] ~= prefix .. name then return nil, 'key ' .. place .. ' must be PREFIX' .. name .. ', of one prefix' end
  end
  if redis.call('EXISTS', KEYS[5]) == 0 then
    return nil, 'no latchhook has published its sources under the prefix ' .. prefix .. ': is that its prefix, and does it run?'
  end
  local count, bytes = (#ARGV - 1) / 4, 0
  if count < 1 or count % 1 ~= 0 then return nil, 'a raw event has four arguments: source id, time of receipt, headers, body' end
  if count > MOST_RAW_EVENTS then return nil, 'there are more than ' .. MOST_RAW_EVENTS .. ' raw events: call it more often' end
  for _, argument in ipairs(ARGV) do bytes = bytes + #argument end
  if bytes > MOST_BYTES then return nil, 'there are more than ' .. MOST_BYTES .. ' bytes in all: call it more often' end
  local parts = { array_of(2) .. '\1' .. array_of(count) }
  for i = 2, #ARGV, 4 do
    local entry, why = encoded(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    if not entry then return nil, string.format('raw event %d: %s', (i + 2) / 4, why) end
    parts[#parts + 1] = entry
  end
  return { '', count, '', table.concat(parts) }
end

local queue = string.match(KEYS[1] or '', '^(.+):active$') or ''
local jobs, from, key, request, day, most = ARGV, 6, ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local is_others = ARGV[1] ~= 'jobs'
if is_others then
  local job, why = as_job(string.match(queue, '^(.+):inbound$') or '')
  if not job then return redis.error_reply('REFUSED ' .. why) end
  jobs, from, key = job, 2, ''
end

if key ~= '' then
  local known = redis.call('HGET', KEYS[5], key) or redis.call('HGET', KEYS[6], key)
  if known then
    local incarnation, first = string.match(string.sub(known, #request + 1), '^(%w+)-(%d+)$')
    if string.sub(known, 1, #request) ~= request then return { 'other', '', {} } end
    return { 'known', incarnation, { tonumber(first) } }
  end
end

-- INFO on every call costs 7 us and leaves no gap: a restarted or replaced Redis is noticed by its first enqueue.
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local was_empty = redis.call('LLEN', KEYS[1]) == 0
local known = redis.call('HMGET', KEYS[3], 'id', 'run_id', 'last')
local incarnation, last = known[1], tonumber(known[3] or 0)
if known[2] ~= run_id then
  if incarnation then redis.call('HSET', KEYS[4], incarnation, last) end
  -- No other has this name: run ids are random, and one Redis forgets an incarnation once in a microsecond at most.
  incarnation, last = string.sub(redis.sha1hex(run_id .. time[1] .. '.' .. time[2]), 1, 16), 0
  redis.call('HSET', KEYS[3], 'id', incarnation, 'run_id', run_id)
end

local now = string.format('%d.%06d', time[1], time[2])
local firsts, names, ids, data = {}, {}, {}, {}
for i = from, #jobs, 3 do
  local count, id = tonumber(jobs[i]), jobs[i + 1]
  local first = 0
  if count > 0 then
    first, last = last + 1, last + count
    id = string.format('%s-%d-%d', incarnation, first, count)
  end
  -- The first three are what apalis-redis cannot read a job without. A numbered job of our own producer has no such hash before
  -- something is known of it: nobody but apalis-redis would read it, when it was received stands in its bytes, and to write,
  -- read and delete it was a fifth of what a job of one raw event costs.
  if count == 0 or is_others then
    redis.call('HSET', queue .. ':meta:' .. id, 'attempts', '0', 'max_attempts', '25', 'status', 'Pending', 'enqueued_at', now)
  end
  firsts[#firsts + 1], ids[#ids + 1] = first, id
  data[#data + 1], data[#data + 2] = id, jobs[i + 2]
end
-- Together, because each command of a script is one in the append-only file too. 1000, because Lua's unpack ends at 8000.
for i = 1, #ids, 1000 do
  local to = math.min(i + 999, #ids)
  redis.call('HSET', KEYS[2], unpack(data, 2 * i - 1, 2 * to))
  redis.call('RPUSH', KEYS[1], unpack(ids, i, to))
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
-- Where apalis-redis tells of it too.
if was_empty then redis.call('PUBLISH', 'tasks:' .. KEYS[1] .. ':available', '') end

if not is_others then return { 'enqueued', incarnation, firsts } end
for number = firsts[1], last do names[#names + 1] = string.format('%s-%d', incarnation, number) end
return names
