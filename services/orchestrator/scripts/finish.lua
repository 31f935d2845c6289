-- Ends a conversation: its record waits for the dataset writer, its entry is acknowledged and deleted, in one step.
-- ARGV: conversation, token, expected length, record, termination reason.   Returns {status, length}: ok | gone | stale | short.
local cid = ARGV[1]
local fields = redis.call('HMGET', key_conversation(cid), 'token', 'run', 'index', 'entry', 'worker')
if is_missing(fields[2]) then return {'gone', 0} end
local length = redis.call('LLEN', key_turns(cid))
if fields[1] ~= ARGV[2] then return {'stale', length} end
if length < tonumber(ARGV[3]) then return {'short', length} end
local run = fields[2]
redis.call('HSET', key_finished(run), fields[3], ARGV[4])
redis.call('HINCRBY', key_run(run), 'finished', 1)
redis.call('HINCRBY', key_run(run), 'ended:' .. ARGV[5], 1)
remove_conversation(cid, run, fields[4], fields[5])
return {'ok', length}
