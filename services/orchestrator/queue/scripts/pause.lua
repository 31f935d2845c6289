-- ARGV: run, by whom, reason.   Returns the run's state, or false: no such run.
pause_run(ARGV[1], ARGV[2], ARGV[3])
return redis.call('HGET', key_run(ARGV[1]), 'state')
