-- Ends a conversation: its record waits for the dataset writer, its entry is acknowledged and deleted, in one step. What
-- the run's next conversations may need follows its size. ARGV: conversation, token, expected length, record,
-- termination reason, tokens held.   Returns {status, length}: ok | gone | stale | short.
local cid = ARGV[1]
local fields = redis.call('HMGET', key_conversation(cid), 'token', 'run', 'index', 'entry', 'worker')
if is_missing(fields[2]) then return {'gone', 0} end
local length = redis.call('LLEN', key_turns(cid))
if fields[1] ~= ARGV[2] then return {'stale', length} end
if length < tonumber(ARGV[3]) then return {'short', length} end
local run = fields[2]
-- A Redis whose memory is full takes everything from a script whose first write frees some: conversations end, the
-- writer empties it (`commit` begins so too), and it is full no more.
redis.call('DEL', key_turns(cid))
redis.call('HSET', key_finished(run), fields[3], ARGV[4])
redis.call('HINCRBY', key_run(run), 'finished', 1)
redis.call('HINCRBY', key_run(run), 'ended:' .. ARGV[5], 1)
local expected = tonumber(redis.call('HGET', key_run(run), 'expected_tokens') or ARGV[6])
redis.call('HSET', key_run(run), 'expected_tokens', math.max(1, math.ceil(expected + (tonumber(ARGV[6]) - expected) / 16)))
remove_conversation(cid, run, fields[4], fields[5])
redis.call('PUBLISH', key_events(run), fields[3] .. ' ended ' .. ARGV[5])
return {'ok', length}
