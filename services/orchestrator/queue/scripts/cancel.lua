-- Gives up what is not finished; finished records are still written. ARGV: run.
-- Returns the run's state, or false: no such run.
cancel_run(ARGV[1])
return redis.call('HGET', key_run(ARGV[1]), 'state')
