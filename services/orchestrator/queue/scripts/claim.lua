-- Hands out conversations: each time to the run with the fewest in flight, those that lost their worker first, and only
-- where both sides have a replica with room. Each is placed on the replica with the fewest reserved tokens, or again on
-- the one where its cache is.
-- ARGV: worker, token, count, offers as JSON {role: {pool: [[url, budget in tokens, 0: unbounded], ...]}}.
-- Returns {rows {conversation, run, index, seed, token, turns, user's replica, assistant's replica,
-- engines lost in a row}, runs whose pools
-- were not offered}, or false: no lease.
local worker, wanted = ARGV[1], tonumber(ARGV[3])
if redis.call('EXISTS', key_lease(worker)) == 0 then return false end
local offers = cjson.decode(ARGV[4])

local reserved = {}
local function reserved_on(url)
  if reserved[url] == nil then reserved[url] = tonumber(redis.call('HGET', key_reserved(), url) or 0) end
  return reserved[url]
end

-- An empty replica takes any conversation, however small its cache is. One that serves the conversation's other side too
-- needs room for both.
local function choose(pool, need, preferred, other)
  local best
  for _, offer in ipairs(pool) do
    local url, budget = offer[1], offer[2]
    local tokens, both = reserved_on(url), url == other and 2 * need or need
    if tokens == 0 or budget == 0 or tokens + both <= budget then
      if url == preferred then return url end
      if not best or tokens < reserved_on(best) then best = url end
    end
  end
  return best
end

-- Replicas for both sides, or nothing.
local function choose_both(run, preferred_user, preferred_assistant)
  local user = choose(run.user, run.need, preferred_user)
  local assistant = user and choose(run.assistant, run.need, preferred_assistant, user)
  if assistant then return user, assistant end
end

local function known_runs()
  local known, unknown = {}, {}
  for _, id in ipairs(redis.call('LRANGE', key_active(), 0, -1)) do
    local fields = redis.call('HMGET', key_run(id), 'claimed', 'limit_in_flight', 'expected_tokens', 'pool_user', 'pool_assistant')
    local user = offers['user'][fields[4] or ''] or false
    local assistant = offers['assistant'][fields[5] or ''] or false
    if user and assistant then
      local limit = tonumber(fields[2] or 0)
      known[#known + 1] = {
        id = id, claimed = tonumber(fields[1] or 0), limit = limit > 0 and limit or math.huge,
        need = tonumber(fields[3] or 1), user = user, assistant = assistant,
      }
    else
      unknown[#unknown + 1] = id
    end
  end
  return known, unknown
end

local function take(run)
  local orphan = redis.call('LPOP', key_orphans(run))
  while orphan do
    local cid = conversation_id(run, orphan)
    local fields = redis.call('HMGET', key_conversation(cid), 'entry', 'token')
    if not is_missing(fields[1]) and is_missing(fields[2]) then
      redis.call('XCLAIM', key_stream(run), GROUP, worker, 0, fields[1], 'JUSTID')
      return cid
    end
    orphan = redis.call('LPOP', key_orphans(run))
  end
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', key_stream(run), '>')
  if not read then return nil end
  return conversation_id(run, read[1][2][1][2][2])
end

local function own(run, cid, token)
  local fields = redis.call('HMGET', key_conversation(cid), 'index', 'seed', 'at_user', 'at_assistant', 'lost_engines')
  local user, assistant = choose_both(run, fields[3], fields[4])
  if not user then user, assistant = choose_both(run) end
  for _, url in ipairs({user, assistant}) do
    reserve(url, run.need)
    reserved[url] = reserved_on(url) + run.need
  end
  redis.call('HSET', key_conversation(cid), 'token', token, 'worker', worker, 'need', run.need,
    'at_user', user, 'at_assistant', assistant)
  redis.call('HSET', key_claims(worker), cid, token)
  redis.call('HINCRBY', key_run(run.id), 'claimed', 1)
  run.claimed = run.claimed + 1
  local turns = redis.call('LRANGE', key_turns(cid), 0, -1)
  return {cid, run.id, fields[1], fields[2], token, turns, user, assistant, tonumber(fields[5] or 0)}
end

local rows = {}
local runs, unknown = known_runs()
while #rows < wanted do
  local at
  for i, run in ipairs(runs) do
    if run.claimed < run.limit and (not at or run.claimed < runs[at].claimed) then at = i end
  end
  if not at then break end
  local run = runs[at]
  local cid = choose_both(run) and take(run.id)
  if cid then
    rows[#rows + 1] = own(run, cid, ARGV[2] .. '.' .. #rows)
  else
    table.remove(runs, at)
  end
end
return {rows, unknown}
