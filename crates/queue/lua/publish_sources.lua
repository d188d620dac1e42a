-- Says that a snapshot of the sources is fresh. The blob is asked for only when it is newer than what is here, or what is
-- here is sealed under another master key than the publisher's (it does not begin with the publisher's mark), or has no
-- directory beside it of the same revision (an older latchhook wrote it: what that calls "directory" has less in it).
-- A lower revision is refused as long as somebody publishes the higher one; when nobody does (Postgres was restored to
-- an earlier state) it is taken. So is one of the same revision with more sources in it that its publisher could not open.
-- Under the same first key such a publisher says what is here to be fresh: there is nothing that only it could open.
--
-- KEYS: snapshot    ARGV: revision, now in ms, ms after which a higher revision counts as given up, mark, how many sources
--   did not open, blob and directory or nothing
-- Returns: 'refreshed', 'blob wanted', 'rewritten' or 'outdated'
local known = redis.call('HMGET', KEYS[1], 'revision', 'published_at', 'listed_of', 'sealed')
local revision, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local known_sealed, sealed = tonumber(known[4] or 0), tonumber(ARGV[5])
local is_known = known[1] == ARGV[1] and known[3] == ARGV[1]
if is_known and known_sealed <= sealed and string.sub(redis.call('HGET', KEYS[1], 'blob'), 1, #ARGV[4]) == ARGV[4] then
  redis.call('HSET', KEYS[1], 'published_at', ARGV[2])
  return 'refreshed'
end
local is_lower = known[1] and tonumber(known[1]) > revision
local is_poorer = is_known and sealed > known_sealed
if (is_lower or is_poorer) and now - tonumber(known[2]) < tonumber(ARGV[3]) then return 'outdated' end
if not ARGV[6] then return 'blob wanted' end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'published_at', ARGV[2], 'blob', ARGV[6],
  'listed', ARGV[7], 'listed_of', ARGV[1], 'sealed', ARGV[5])
return 'rewritten'
