-- Hands a paused run out again. Limits count from here on, but for the budget, which is of the whole run.
-- ARGV: run, by whom it must have been paused, or nothing; its budget from now on in billionths, or nothing.
-- Returns the run's state, or false: no such run.
local run = ARGV[1]
local fields = redis.call('HMGET', key_run(run), 'state', 'pause_by', 'generated_tokens')
if fields[1] and (ARGV[3] or '') ~= '' then redis.call('HSET', key_budget(run), 'limit', ARGV[3]) end
if fields[1] ~= 'paused' or (ARGV[2] ~= '' and fields[2] ~= ARGV[2]) then return fields[1] end
redis.call('HDEL', key_run(run), 'pause_by', 'pause_reason')
redis.call('HSET', key_run(run), 'state', 'running', 'dead_at_resume', redis.call('HLEN', key_dead(run)),
  'tokens_at_resume', fields[3] or 0)
redis.call('RPUSH', key_active(), run)
settle_run(run)
return redis.call('HGET', key_run(run), 'state')
