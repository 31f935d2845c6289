-- ARGV: worker, lease in ms.
redis.call('SADD', key_workers(), ARGV[1])
redis.call('SET', key_lease(ARGV[1]), '1', 'PX', ARGV[2])
