-- One run's budget: KEY, a hash of `spent`, `held`, h:ID for each hold, and `limit` where a person has set another since
-- the run began; KEY:until, a zset of holds by their end.
-- Amounts are billionths. ARGV: what, key, then what that takes.
local what, key = ARGV[1], ARGV[2]
local until_key = key .. ':until'
local id = ARGV[3]

local function now_s()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function number_of(field, otherwise)
  return tonumber(redis.call('HGET', key, field) or otherwise or 0)
end

local function settle(hold, nanos)
  local held = redis.call('HGET', key, 'h:' .. hold)
  if not held then return end  -- settled before, or counted as spent when its time was over
  redis.call('HINCRBY', key, 'held', held == '0' and 0 or '-' .. held)
  redis.call('HINCRBY', key, 'spent', nanos or held)
  redis.call('HDEL', key, 'h:' .. hold)
  redis.call('ZREM', until_key, hold)
end

local function settle_overdue(now)
  for _, hold in ipairs(redis.call('ZRANGEBYSCORE', until_key, '-inf', now)) do
    settle(hold, nil)
  end
end

if what == 'hold' then
  local nanos, limit = tonumber(ARGV[4]), number_of('limit', ARGV[5])
  local now = now_s()
  settle_overdue(now)
  local spent = number_of('spent')
  local refusal = {0, string.format('%.0f', spent), string.format('%.0f', limit)}
  if redis.call('HEXISTS', key, 'h:' .. id) == 0 then
    if spent + number_of('held') + nanos > limit then return refusal end
    redis.call('HSET', key, 'h:' .. id, ARGV[4])
    redis.call('HINCRBY', key, 'held', ARGV[4])
    redis.call('ZADD', until_key, now + tonumber(ARGV[6]), id)
  end
  return {1}
elseif what == 'settle' then
  settle(id, ARGV[4])
elseif what == 'spent' then
  return redis.call('HGET', key, 'spent') or '0'
else
  return redis.error_reply('no such call: ' .. what)
end
