#!lua flags=no-writes
-- How far the numbers went, at one moment. (In a MULTI a full Redis would refuse to say.)
--
-- KEYS: incarnation, incarnations
-- Returns: {incarnation, its last number, ..}
local lasts = redis.call('HGETALL', KEYS[2])
local now_giving = redis.call('HMGET', KEYS[1], 'id', 'last')
if now_giving[1] and now_giving[2] then
  lasts[#lasts + 1] = now_giving[1]
  lasts[#lasts + 1] = now_giving[2]
end
return lasts
