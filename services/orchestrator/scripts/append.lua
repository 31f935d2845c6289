-- Records one utterance. ARGV: conversation, token, expected length, turn, generated tokens, event.
-- Returns {status, length}: ok | stale (the claim is not ours) | short (Redis came back a moment older: push again from there).
local cid = ARGV[1]
local fields = redis.call('HMGET', key_conversation(cid), 'token', 'run')
local length = redis.call('LLEN', key_turns(cid))
if fields[1] ~= ARGV[2] then return {'stale', length} end
local expected = tonumber(ARGV[3])
if length < expected then return {'short', length} end
if length > expected then
  local same = length == expected + 1 and redis.call('LINDEX', key_turns(cid), -1) == ARGV[4]
  return {same and 'ok' or 'stale', length}
end
redis.call('RPUSH', key_turns(cid), ARGV[4])
redis.call('HSET', key_conversation(cid), 'attempts', 0)
redis.call('HINCRBY', key_run(fields[2]), 'utterances', 1)
redis.call('HINCRBY', key_run(fields[2]), 'generated_tokens', ARGV[5])
redis.call('PUBLISH', key_events(fields[2]), ARGV[6])
return {'ok', length + 1}
