-- Forgets records that are in the dataset, and takes in what was measured of it. Returns the run's state, or false: no
-- such run.
-- ARGV: run, committed in all, conversations measured (-1: nothing is told of them), what to keep of that, what to do
-- where a figure left its bounds, number of judged figures, for each its name and what is wrong with it (nothing: ''),
-- then index, ...
-- Of two writers, the one that knows less may come last: neither count goes down. What is finished follows from it, for
-- a Redis that came back a moment older counts some once more, and others not at all.
local run = ARGV[1]
local first_index = 7 + 2 * tonumber(ARGV[6])

-- Keeps the figures, and which of them are out of bounds; gives what is wrong with those that were not before.
local function note_realism()
  local known = redis.call('HGET', key_run(run), 'measured')
  if tonumber(ARGV[3]) < tonumber(known or 0) then return {} end
  redis.call('HSET', key_run(run), 'measured', ARGV[3], 'realism', ARGV[4])
  local found = {}
  for i = 7, first_index - 1, 2 do
    local field = 'outside:' .. ARGV[i]
    if ARGV[i + 1] == '' then
      redis.call('HDEL', key_run(run), field)
    elseif redis.call('HSETNX', key_run(run), field, ARGV[i + 1]) == 1 then
      table.insert(found, ARGV[i + 1])
    end
  end
  return found
end

-- A run that waits for a person already waits for nobody else; one that would go on by itself does not any more.
local function act(reason)
  if ARGV[5] == 'cancel' then cancel_run(run) end
  if ARGV[5] ~= 'pause' then return end
  local by = redis.call('HGET', key_run(run), 'pause_by')
  if by == 'engines' or by == 'writer' then
    redis.call('HSET', key_run(run), 'pause_by', 'limit', 'pause_reason', reason)
  else
    pause_run(run, 'limit', reason)
  end
end

local counts = redis.call('HMGET', key_run(run), 'committed', 'total')
if is_missing(counts[1]) then return false end
for i = first_index, #ARGV do
  redis.call('HDEL', key_finished(run), ARGV[i])
end
local committed = math.max(tonumber(counts[1]), tonumber(ARGV[2]))
local finished = math.min(tonumber(counts[2]), committed + redis.call('HLEN', key_finished(run)))
redis.call('HSET', key_run(run), 'committed', committed, 'finished', finished)
settle_run(run)
local found = note_realism()
if #found > 0 then act(table.concat(found, '; ')) end
return redis.call('HGET', key_run(run), 'state')
