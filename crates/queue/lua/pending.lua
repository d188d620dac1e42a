#!lua flags=no-writes
-- A page of the names of all jobs that are not settled. They are read off the data, where a job stays from its enqueue
-- to its settling, because between the lists it moves and a reader would miss it. (But one that is parted meanwhile has other
-- names after that, which a reader may miss: who must be sure looks twice.) The bytes stay in Redis.
--
-- KEYS: data
-- ARGV: cursor, about how many
-- Returns: next cursor, {id, ..}
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local ids = {}
for i = 1, #page[2], 2 do ids[#ids + 1] = page[2][i] end
return { page[1], ids }
