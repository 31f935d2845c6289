-- Hands dead conversations out again, with what had been said. ARGV: run, index, ...   Returns how many.
local run = ARGV[1]
local state = redis.call('HGET', key_run(run), 'state')
if state ~= 'running' and state ~= 'paused' and state ~= 'completed' then return 0 end
local retried = 0
for i = 2, #ARGV do
  local letter = redis.call('HGET', key_dead(run), ARGV[i])
  if letter then
    if state == 'completed' then
      redis.call('XGROUP', 'CREATE', key_stream(run), GROUP, '0', 'MKSTREAM')
      redis.call('HSET', key_run(run), 'state', 'running')
      redis.call('RPUSH', key_active(), run)
      redis.call('SADD', key_open(), run)
      state = 'running'
    end
    local fields = cjson.decode(letter)
    local entry = redis.call('XADD', key_stream(run), '*', 'index', ARGV[i])
    redis.call('HSET', key_conversation(fields.id), 'run', run, 'index', ARGV[i], 'entry', entry, 'seed', fields.seed, 'attempts', 0)
    for _, turn in ipairs(cjson.decode(fields.turns)) do
      redis.call('RPUSH', key_turns(fields.id), turn)
    end
    redis.call('HDEL', key_dead(run), ARGV[i])
    retried = retried + 1
  end
end
redis.call('HSET', key_run(run), 'dead_at_resume', redis.call('HLEN', key_dead(run)))
return retried
