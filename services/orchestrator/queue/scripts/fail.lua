-- ARGV: conversation, token, error.   Returns requeued | dead | stale.
local fields = redis.call('HMGET', key_conversation(ARGV[1]), 'token', 'worker')
if fields[1] ~= ARGV[2] then return 'stale' end
return record_failure(ARGV[1], fields[2], ARGV[3])
