#!lua
-- Tells a queue that has lost its memory how far the numbers of an earlier incarnation went, as far as the caller was
-- given some: so that an audit can name each that is missing.
--
-- KEYS: incarnation, incarnations
-- ARGV: an incarnation, its last number
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then return end
local known = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if known < tonumber(ARGV[2]) then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
