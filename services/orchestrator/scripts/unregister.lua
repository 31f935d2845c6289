-- ARGV: worker, which has released its claims.
redis.call('SREM', key_workers(), ARGV[1])
redis.call('DEL', key_lease(ARGV[1]), key_claims(ARGV[1]))
