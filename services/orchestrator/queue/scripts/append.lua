-- Records one utterance. ARGV: conversation, token, expected length, turn, generated tokens, index within the run.
-- Returns {status, length, run's state}: ok | stale (the claim is not ours) | short (Redis came back a moment older: push
-- again from there).
local cid = ARGV[1]
local fields = redis.call('HMGET', key_conversation(cid), 'token', 'run', 'attempts', 'lost_engines')
local length = redis.call('LLEN', key_turns(cid))
if fields[1] ~= ARGV[2] then return {'stale', length} end
local expected, run = tonumber(ARGV[3]), fields[2]
local limits = redis.call('HMGET', key_run(run), 'state', 'limit_tokens', 'tokens_at_resume')
if length < expected then return {'short', length, limits[1]} end
if length > expected then
  local same = length == expected + 1 and redis.call('LINDEX', key_turns(cid), -1) == ARGV[4]
  return {same and 'ok' or 'stale', length, limits[1]}
end
redis.call('RPUSH', key_turns(cid), ARGV[4])
if fields[3] ~= '0' then redis.call('HSET', key_conversation(cid), 'attempts', 0) end
if not is_missing(fields[4]) then redis.call('HDEL', key_conversation(cid), 'lost_engines') end
redis.call('HINCRBY', key_run(run), 'utterances', 1)
local tokens = redis.call('HINCRBY', key_run(run), 'generated_tokens', ARGV[5])
redis.call('PUBLISH', key_events(run), ARGV[6] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
local limit = tonumber(limits[2] or 0)
if limit > 0 and limits[1] == 'running' and tokens - tonumber(limits[3] or 0) >= limit then
  pause_run(run, 'limit', limit .. ' tokens are generated (limits.generated_tokens)')
  limits[1] = 'paused'
end
return {'ok', length + 1, limits[1]}
