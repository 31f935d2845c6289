-- Renews a worker's lease unless it was reclaimed. ARGV: worker, lease in ms.
-- Returns {conversation, token, ...} that Redis holds for it, or false: reclaimed, everything is somebody else's.
if redis.call('SISMEMBER', key_workers(), ARGV[1]) == 0 then return false end
renew_lease(ARGV[1], ARGV[2])
return redis.call('HGETALL', key_claims(ARGV[1]))
