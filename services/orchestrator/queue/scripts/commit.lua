-- Forgets records that are in the dataset. ARGV: run, committed in all, index, ...   Returns the run's state, or
-- false: no such run.
-- Of two writers, the one that knows less may come last: the count never goes down. What is finished follows from it,
-- for a Redis that came back a moment older counts some once more, and others not at all.
local run = ARGV[1]
local counts = redis.call('HMGET', key_run(run), 'committed', 'total')
if is_missing(counts[1]) then return false end
for i = 3, #ARGV do
  redis.call('HDEL', key_finished(run), ARGV[i])
end
local committed = math.max(tonumber(counts[1]), tonumber(ARGV[2]))
local finished = math.min(tonumber(counts[2]), committed + redis.call('HLEN', key_finished(run)))
redis.call('HSET', key_run(run), 'committed', committed, 'finished', finished)
settle_run(run)
return redis.call('HGET', key_run(run), 'state')
