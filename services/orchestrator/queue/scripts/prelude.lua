-- What every script may use. The key_* functions are generated from keys.KEYS and stand above this text.

local function is_missing(value)
  return value == false or value == nil
end

-- A Redis whose memory is full refuses SET and not PEXPIRE: nobody loses its claims because of that.
local function renew_lease(worker, lease_ms)
  if redis.call('PEXPIRE', key_lease(worker), lease_ms) == 0 then
    redis.call('SET', key_lease(worker), '1', 'PX', lease_ms)
  end
end

-- Changes what is reserved on a replica; one without reservations has no entry.
local function reserve(url, tokens)
  if redis.call('HINCRBY', key_reserved(), url, tokens) <= 0 then redis.call('HDEL', key_reserved(), url) end
end

-- Ends a claim's share of replicas and of the run's limit; where the conversation was placed stays known.
local function give_back(cid, run)
  local fields = redis.call('HMGET', key_conversation(cid), 'token', 'need', 'at_user', 'at_assistant')
  if is_missing(fields[1]) then return end
  redis.call('HINCRBY', key_run(run), 'claimed', -1)
  if is_missing(fields[2]) then return end
  for i = 3, 4 do
    if not is_missing(fields[i]) then reserve(fields[i], -tonumber(fields[2])) end
  end
end

-- Gives a claim up: the conversation belongs to nobody afterwards.
local function drop_claim(cid, run, worker)
  give_back(cid, run)
  redis.call('HDEL', key_conversation(cid), 'token', 'worker', 'need')
  if worker then redis.call('HDEL', key_claims(worker), cid) end
end

-- Takes a conversation out of the queue for good.
local function remove_conversation(cid, run, entry, worker)
  give_back(cid, run)
  redis.call('XACK', key_stream(run), GROUP, entry)
  redis.call('XDEL', key_stream(run), entry)
  redis.call('DEL', key_conversation(cid), key_turns(cid))
  if worker then redis.call('HDEL', key_claims(worker), cid) end
end

-- A run is over when every conversation is in the dataset, dead or cancelled, and nothing is worked on or waits to be
-- written. The counts alone do not tell: where Redis came back a moment older, a conversation that the dataset has is
-- made, or dies, once more.
local function settle_run(run)
  local counts = redis.call('HMGET', key_run(run), 'total', 'committed', 'state', 'cursor')
  if is_missing(counts[1]) or counts[3] == 'completed' or counts[3] == 'cancelled' then return end
  if redis.call('XLEN', key_stream(run)) > 0 or redis.call('HLEN', key_finished(run)) > 0 then return end
  local left = tonumber(counts[1]) - tonumber(counts[2]) - redis.call('HLEN', key_dead(run))
  if counts[3] == 'cancelling' then
    redis.call('HSET', key_run(run), 'state', 'cancelled', 'cancelled', math.max(0, left))
  else
    if left > 0 or tonumber(counts[4]) < tonumber(counts[1]) then return end
    redis.call('HSET', key_run(run), 'state', 'completed')
    redis.call('HDEL', key_run(run), 'pause_by', 'pause_reason')
  end
  redis.call('LREM', key_active(), 0, run)
  redis.call('SREM', key_open(), run)
  redis.call('DEL', key_stream(run), key_orphans(run))
end

-- Hands nothing of a running run out any more. A person's pause replaces any other.
local function pause_run(run, by, reason)
  local state = redis.call('HGET', key_run(run), 'state')
  if state ~= 'running' and not (state == 'paused' and by == 'user') then return end
  redis.call('HSET', key_run(run), 'state', 'paused', 'pause_by', by, 'pause_reason', reason)
  redis.call('LREM', key_active(), 0, run)
end

-- Gives up what of a run is not finished; finished records are still written.
local function cancel_run(run)
  local state = redis.call('HGET', key_run(run), 'state')
  if state ~= 'running' and state ~= 'paused' then return end
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
end

-- To the dead letters.
local function bury(cid, worker, failure, attempts)
  local fields = redis.call('HMGET', key_conversation(cid), 'run', 'index', 'entry', 'seed')
  local run, index, entry = fields[1], fields[2], fields[3]
  local limits = redis.call('HMGET', key_run(run), 'limit_dead', 'dead_at_resume')
  local turns = redis.call('LRANGE', key_turns(cid), 0, -1)
  local letter = cjson.encode({
    id = cid, index = tonumber(index), attempts = attempts, error = failure, seed = fields[4],
    turns = #turns > 0 and cjson.encode(turns) or '[]',
  })
  redis.call('HSET', key_dead(run), index, letter)
  remove_conversation(cid, run, entry, worker)
  local limit = tonumber(limits[1] or 0)
  if limit > 0 and redis.call('HLEN', key_dead(run)) - tonumber(limits[2] or 0) >= limit then
    pause_run(run, 'limit', limit .. ' conversations are dead (limits.dead), the last one: ' .. failure)
  end
  settle_run(run)
end

-- One more failure: back into the queue, or to the dead letters after the run's attempts. Returns 'dead' or 'requeued'.
local function record_failure(cid, worker, failure)
  local fields = redis.call('HMGET', key_conversation(cid), 'run', 'index')
  local attempts = redis.call('HINCRBY', key_conversation(cid), 'attempts', 1)
  if attempts >= tonumber(redis.call('HGET', key_run(fields[1]), 'attempts') or 1) then
    bury(cid, worker, failure, attempts)
    return 'dead'
  end
  drop_claim(cid, fields[1], worker)
  redis.call('RPUSH', key_orphans(fields[1]), fields[2])
  return 'requeued'
end
