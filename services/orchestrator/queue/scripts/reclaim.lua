-- Frees the claims of workers whose lease ran out, but never within one lease of a Redis start: leases ran out meanwhile.
-- The worker that asks is alive: its own lease is renewed first, so that one that was starved does not reclaim itself.
-- ARGV: lease in ms, the worker that asks.   Returns how many claims were freed.
if redis.call('SISMEMBER', key_workers(), ARGV[2]) == 1 then
  renew_lease(ARGV[2], ARGV[1])
end
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
if uptime * 1000 <= tonumber(ARGV[1]) then return 0 end
local freed = 0
for _, worker in ipairs(redis.call('SMEMBERS', key_workers())) do
  if redis.call('EXISTS', key_lease(worker)) == 0 then
    local claims = redis.call('HGETALL', key_claims(worker))
    for i = 1, #claims, 2 do
      if redis.call('HGET', key_conversation(claims[i]), 'token') == claims[i + 1] then
        record_failure(claims[i], worker, 'its worker died')
        freed = freed + 1
      end
    end
    redis.call('DEL', key_claims(worker))
    redis.call('SREM', key_workers(), worker)
    redis.call('HDEL', key_reports(), worker)
  end
end
return freed
