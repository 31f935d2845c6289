-- An engine went away while it was to answer a conversation, which may be why. ARGV: conversation, token, error.
-- Returns how many did in a row, without a new utterance; 0: the claim is not ours; -1: the conversation is dead now.
local fields = redis.call('HMGET', key_conversation(ARGV[1]), 'token', 'worker', 'run')
if fields[1] ~= ARGV[2] then return 0 end
local lost = redis.call('HINCRBY', key_conversation(ARGV[1]), 'lost_engines', 1)
if lost < tonumber(redis.call('HGET', key_run(fields[3]), 'lost_engines') or math.huge) then return lost end
bury(ARGV[1], fields[2], lost .. ' engines were lost while they were to answer it, the last one: ' .. ARGV[3], lost)
return -1
