-- Gives a conversation back untouched (a worker that stops, a run that pauses). ARGV: conversation, token.
-- Returns 1, or 0: it was not ours.
local fields = redis.call('HMGET', key_conversation(ARGV[1]), 'token', 'run', 'index', 'worker')
if fields[1] ~= ARGV[2] then return 0 end
drop_claim(ARGV[1], fields[2], fields[4])
redis.call('RPUSH', key_orphans(fields[2]), fields[3])
return 1
