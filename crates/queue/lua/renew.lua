#!lua flags=allow-oom
-- Makes runs' leases full again; in a full Redis too, where leases would end under those that empty it.
--
-- KEYS: runs    ARGV: lease in ms
redis.set_repl(redis.REPL_NONE)
for _, run in ipairs(KEYS) do
  if redis.call('GET', run) ~= 'done' then redis.call('SET', run, 'held', 'PX', ARGV[1]) end
end
