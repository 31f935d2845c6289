-- Somebody watches a conversation. Redis' clock counts, so that API and workers need not agree on the time.
-- ARGV: conversation, for how many seconds from now on.
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', key_watched(), '-inf', now)
redis.call('ZADD', key_watched(), now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', key_watched(), ARGV[2])
