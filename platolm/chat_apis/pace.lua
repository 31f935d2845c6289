-- The rules of pace.py on a hash in Redis, so that several processes keep one pace. The constants stand before this.
-- ARGV: what, key, now (empty: Redis' clock), stated requests and tokens a minute (empty: none), then what that takes.
local what, key = ARGV[1], ARGV[2]
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function number_of(field, otherwise)
  return tonumber(redis.call('HGET', key, field)) or otherwise
end

local function keep(field, number)
  redis.call('HSET', key, field, string.format('%.17g', number))
end

local function less(one, other)
  if one and other then return math.min(one, other) end
  return one or other
end

local function part(limit, share)
  return limit and math.max(1, math.floor(limit * share))
end

local stated_requests, stated_tokens = tonumber(ARGV[4]), tonumber(ARGV[5])

local function is_unknown()
  return not (stated_requests or stated_tokens or number_of('heard_requests') or number_of('heard_tokens'))
end

local function share_now()
  local share, cut_at = number_of('share', 1), number_of('cut_at')
  if not cut_at then return share end
  local grown = share + GROWTH_PER_S * (now - cut_at)
  return is_unknown() and grown or math.min(1, grown)
end

local function limits_now()
  local share = share_now()
  if is_unknown() then return part(number_of('learned_requests'), share), nil end
  return part(less(stated_requests, number_of('heard_requests')), share),
    part(less(stated_tokens, number_of('heard_tokens')), share)
end

-- Slots: `first` to `last`, a field each for requests (r:NUMBER) and tokens (t:NUMBER), where there were any.
local function forget()
  local first, last = number_of('first'), number_of('last')
  if not first then return end
  local needed = math.floor(now / SLOT_S) - WINDOW_SLOTS + 1
  for number = first, math.min(last, needed - 1) do
    redis.call('HINCRBY', key, 'used_requests', 0 - number_of('r:' .. number, 0))
    redis.call('HINCRBY', key, 'used_tokens', 0 - number_of('t:' .. number, 0))
    redis.call('HDEL', key, 'r:' .. number, 't:' .. number)
  end
  if needed > last then
    redis.call('HDEL', key, 'first', 'last')
  elseif needed > first then
    redis.call('HSET', key, 'first', needed)
  end
end

local function until_room(most, used_field, slot_prefix, amount)
  local used, freed_at = number_of(used_field, 0), now
  local first = number_of('first')
  if not first then return 0 end
  for number = first, number_of('last') do
    if used <= 0 or used + amount <= most then break end
    local counted = redis.call('HGET', key, slot_prefix .. number)
    if counted then
      used = used - counted
      freed_at = (number + WINDOW_SLOTS) * SLOT_S
    end
  end
  return freed_at - now
end

local function spread_tokens(seconds)
  local spare = number_of('spare_s', 0)
  local spared = math.min(spare, math.max(0, seconds))
  local next_at = number_of('next_token_at', -math.huge) + math.min(seconds, SPREAD_S) - spared
  local kept_at = seconds > 0 and next_at or math.max(next_at, now - CREDIT_S)
  keep('next_token_at', kept_at)
  keep('spare_s', math.min(SPREAD_S, spare - spared + kept_at - next_at))
end

local function count(slot, requests, tokens)
  if slot then
    redis.call('HINCRBY', key, 'r:' .. slot, requests)
    redis.call('HINCRBY', key, 't:' .. slot, tokens)
    redis.call('HINCRBY', key, 'used_requests', requests)
    redis.call('HINCRBY', key, 'used_tokens', tokens)
  end
  local requests_a_minute, tokens_a_minute = limits_now()
  if requests_a_minute then
    keep('next_request_at', number_of('next_request_at', -math.huge) + requests * SPREAD_S / requests_a_minute)
  end
  if tokens_a_minute then spread_tokens(tokens * SPREAD_S / tokens_a_minute) end
end

local function correct(slot, requests, tokens)
  if redis.call('HEXISTS', key, 'next_request_at') == 0 then return end  -- Redis has lost it all
  forget()
  local first = number_of('first')
  local is_counted = first and redis.call('HEXISTS', key, 'r:' .. slot) == 1
  count(is_counted and slot or nil, requests, tokens)
end

local function take(tokens)
  forget()
  local requests_a_minute, tokens_a_minute = limits_now()
  local wait_s = math.max(0, number_of('paused_until', now) - now)
  if requests_a_minute then
    wait_s = math.max(wait_s, number_of('next_request_at', now) - now,
      until_room(requests_a_minute, 'used_requests', 'r:', 1))
  end
  if tokens_a_minute then
    wait_s = math.max(wait_s, number_of('next_token_at', now) - now,
      until_room(tokens_a_minute, 'used_tokens', 't:', tokens))
  end
  local slot = math.floor(now / SLOT_S)
  if wait_s <= 0 then
    if not number_of('first') then redis.call('HSET', key, 'first', slot) end
    redis.call('HSET', key, 'last', slot)
    keep('next_request_at', math.max(number_of('next_request_at', now - CREDIT_S), now - CREDIT_S))
    keep('next_token_at', math.max(number_of('next_token_at', now - CREDIT_S), now - CREDIT_S))
    count(slot, 1, tokens)
  end
  return {string.format('%.17g', wait_s), string.format('%.17g', now), slot}
end

local function throttled(at, retry_after_s)
  local paused_until, pause_s = number_of('paused_until', -math.huge), number_of('pause_s', FIRST_PAUSE_S)
  if retry_after_s then
    keep('paused_until', math.max(paused_until, now + retry_after_s))
  elseif at >= paused_until then
    keep('paused_until', now + pause_s)
    keep('pause_s', math.min(LONGEST_PAUSE_S, 2 * pause_s))
  end
  if now >= number_of('cut_at', -math.huge) + CUT_EVERY_S then
    forget()
    if is_unknown() and not number_of('learned_requests') then
      local first = number_of('first')
      local since_s = first and now - first * SLOT_S or SPREAD_S
      local learned = math.floor(number_of('used_requests', 0) * 60 / math.max(LEAST_LESSON_S, since_s))
      keep('learned_requests', math.max(1, learned))
    end
    keep('share', CUT * share_now())
    keep('cut_at', now)
  end
end

local function heard(requests, tokens, pause_s)
  if requests then keep('heard_requests', requests) end
  if tokens then keep('heard_tokens', tokens) end
  if pause_s > 0 then keep('paused_until', math.max(number_of('paused_until', now), now + pause_s)) end
end

local answer
local at, slot, reserved = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
if what == 'take' then
  answer = take(tonumber(ARGV[6]))
elseif what == 'settle' then
  if at >= number_of('paused_until', -math.huge) then redis.call('HDEL', key, 'pause_s') end
  correct(slot, 0, tonumber(ARGV[9]) - reserved)
elseif what == 'release' then
  correct(slot, -1, 0 - reserved)  -- HINCRBY takes no -0
elseif what == 'throttled' then
  throttled(at, tonumber(ARGV[9]))
elseif what == 'heard' then
  heard(at, tonumber(slot), tonumber(ARGV[8]))
else
  return redis.error_reply('no such call: ' .. what)
end
-- Kept for as long as what was learned of the API is of use.
redis.call('EXPIRE', key, math.ceil(math.max(0, number_of('paused_until', now) - now)) + 3600)
return answer
