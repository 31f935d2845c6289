-- What every script may use. The key_* functions are generated from queue.KEYS and stand above this text.

local function is_missing(value)
  return value == false or value == nil
end

-- Gives a claim up: the conversation belongs to nobody afterwards.
local function drop_claim(cid, worker)
  redis.call('HDEL', key_conversation(cid), 'token', 'worker')
  if worker then redis.call('HDEL', key_claims(worker), cid) end
end

-- Takes a conversation out of the queue for good.
local function remove_conversation(cid, run, entry, worker)
  redis.call('XACK', key_stream(run), GROUP, entry)
  redis.call('XDEL', key_stream(run), entry)
  redis.call('DEL', key_conversation(cid), key_turns(cid))
  if worker then redis.call('HDEL', key_claims(worker), cid) end
end

-- A run is complete when every conversation is in the dataset or dead.
local function settle_run(run)
  local counts = redis.call('HMGET', key_run(run), 'total', 'committed')
  if is_missing(counts[1]) then return end
  local settled = tonumber(counts[2] or 0) + redis.call('HLEN', key_dead(run))
  if settled < tonumber(counts[1]) then return end
  redis.call('HSET', key_run(run), 'state', 'completed')
  redis.call('LREM', key_active(), 0, run)
  redis.call('DEL', key_stream(run), key_orphans(run))
end

-- One more failure: back into the queue, or to the dead letters after the run's max_attempts. Returns 'dead' or 'requeued'.
local function record_failure(cid, worker, failure)
  local fields = redis.call('HMGET', key_conversation(cid), 'run', 'index', 'entry', 'seed')
  local run, index, entry = fields[1], fields[2], fields[3]
  local attempts = redis.call('HINCRBY', key_conversation(cid), 'attempts', 1)
  local allowed = tonumber(redis.call('HGET', key_run(run), 'max_attempts') or 1)
  if attempts < allowed then
    drop_claim(cid, worker)
    redis.call('RPUSH', key_orphans(run), index)
    return 'requeued'
  end
  local letter = cjson.encode({
    id = cid, index = tonumber(index), attempts = attempts, error = failure, seed = fields[4],
    turns = cjson.encode(redis.call('LRANGE', key_turns(cid), 0, -1)),
  })
  redis.call('HSET', key_dead(run), index, letter)
  remove_conversation(cid, run, entry, worker)
  settle_run(run)
  return 'dead'
end
