#!lua flags=allow-oom
-- Marks a job as running alone, before it is opened. The mark outlives the process; whoever takes the job back from a dead
-- worker turns it into an unclean start alone, and every clean way out of the worker's hands removes it.
--
-- KEYS: the worker's inflight    ARGV: meta prefix, id
-- Returns: 1, or 0 when the worker does not hold the job any more
if redis.call('SISMEMBER', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('HSET', ARGV[1] .. ':' .. ARGV[2], 'alone', 1)
return 1
