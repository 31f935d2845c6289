-- Gives up what is not finished; finished records are still written. ARGV: run.
-- Returns the run's state, or false: no such run.
local run = ARGV[1]
local state = redis.call('HGET', key_run(run), 'state')
if state ~= 'running' and state ~= 'paused' then return state end
redis.call('HSET', key_run(run), 'state', 'cancelling')
redis.call('HDEL', key_run(run), 'pause_by', 'pause_reason')
redis.call('LREM', key_active(), 0, run)
for _, entry in ipairs(redis.call('XRANGE', key_stream(run), '-', '+')) do
  local cid = conversation_id(run, entry[2][2])
  local worker = redis.call('HGET', key_conversation(cid), 'worker')
  remove_conversation(cid, run, entry[1], worker)
end
redis.call('DEL', key_stream(run), key_orphans(run))
settle_run(run)
return redis.call('HGET', key_run(run), 'state')
