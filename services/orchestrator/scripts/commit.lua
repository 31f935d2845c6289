-- Forgets records that are in the dataset. ARGV: run, committed in all, index, ...   Returns the run's state.
for i = 3, #ARGV do
  redis.call('HDEL', key_finished(ARGV[1]), ARGV[i])
end
redis.call('HSET', key_run(ARGV[1]), 'committed', ARGV[2])
settle_run(ARGV[1])
return redis.call('HGET', key_run(ARGV[1]), 'state')
