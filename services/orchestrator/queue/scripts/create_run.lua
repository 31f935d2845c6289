-- The idempotency key and the run come into being together.
-- ARGV: run, idempotency key, digest of the request, created_at, field, value, ...   Returns {run, digest} that hold the key.
local holder = redis.call('HMGET', key_idempotency(ARGV[2]), 'run', 'digest')
if not is_missing(holder[1]) then return holder end
redis.call('HSET', key_idempotency(ARGV[2]), 'run', ARGV[1], 'digest', ARGV[3])
for i = 5, #ARGV, 2 do
  redis.call('HSET', key_run(ARGV[1]), ARGV[i], ARGV[i + 1])
end
redis.call('ZADD', key_runs(), ARGV[4], ARGV[1])
redis.call('XGROUP', 'CREATE', key_stream(ARGV[1]), GROUP, '0', 'MKSTREAM')
redis.call('RPUSH', key_active(), ARGV[1])
redis.call('SADD', key_open(), ARGV[1])
return {ARGV[1], ARGV[3]}
