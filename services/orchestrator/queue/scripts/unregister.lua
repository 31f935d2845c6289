-- A worker leaves; a claim that it did not come to release (one whose answer it never read) is handed out again.
-- ARGV: worker.
local claims = redis.call('HGETALL', key_claims(ARGV[1]))
for i = 1, #claims, 2 do
  local fields = redis.call('HMGET', key_conversation(claims[i]), 'token', 'run', 'index')
  if fields[1] == claims[i + 1] then
    drop_claim(claims[i], fields[2], nil)
    redis.call('RPUSH', key_orphans(fields[2]), fields[3])
  end
end
redis.call('SREM', key_workers(), ARGV[1])
redis.call('HDEL', key_reports(), ARGV[1])
redis.call('DEL', key_lease(ARGV[1]), key_claims(ARGV[1]))
