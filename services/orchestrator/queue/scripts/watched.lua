-- Returns the conversations that somebody watches.
return redis.call('ZRANGEBYSCORE', key_watched(), '(' .. redis.call('TIME')[1], '+inf')
