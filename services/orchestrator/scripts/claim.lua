-- Hands out conversations, one from each active run in turn; those that lost their worker come first.
-- ARGV: worker, token, count.   Returns rows {conversation, run, index, seed, token, turns}, or false: no lease.
local worker, wanted = ARGV[1], tonumber(ARGV[3])
if redis.call('EXISTS', key_lease(worker)) == 0 then return false end

local function take(run)
  local stream = key_stream(run)
  local orphan = redis.call('LPOP', key_orphans(run))
  while orphan do
    local cid = conversation_id(run, orphan)
    local entry = redis.call('HGET', key_conversation(cid), 'entry')
    if entry and redis.call('HEXISTS', key_conversation(cid), 'token') == 0 then
      redis.call('XCLAIM', stream, GROUP, worker, 0, entry, 'JUSTID')
      return cid
    end
    orphan = redis.call('LPOP', key_orphans(run))
  end
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', stream, '>')
  if not read then return nil end
  return conversation_id(run, read[1][2][1][2][2])
end

local rows, idle = {}, 0
local runs = redis.call('LLEN', key_active())
while #rows < wanted and idle < runs do
  local run = redis.call('LMOVE', key_active(), key_active(), 'LEFT', 'RIGHT')
  local cid = take(run)
  if cid then
    idle = 0
    local fields = redis.call('HMGET', key_conversation(cid), 'index', 'seed')
    local token = ARGV[2] .. '.' .. #rows
    redis.call('HSET', key_conversation(cid), 'token', token, 'worker', worker)
    redis.call('HSET', key_claims(worker), cid, token)
    rows[#rows + 1] = {cid, run, fields[1], fields[2], token, redis.call('LRANGE', key_turns(cid), 0, -1)}
  else
    idle = idle + 1
  end
end
return rows
