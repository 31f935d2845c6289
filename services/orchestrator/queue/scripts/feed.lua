-- Moves the next conversations of a run into its stream, at most up to the window, none while finished records pile up.
-- An empty seed passes its conversation over: it is in the dataset already.
-- ARGV: run, expected cursor, window, most finished records, seed, seed, ...   Returns the cursor.
local run = ARGV[1]
local fields = redis.call('HMGET', key_run(run), 'cursor', 'state')
local cursor = tonumber(fields[1] or -1)
if cursor ~= tonumber(ARGV[2]) or fields[2] ~= 'running' then return cursor end
if redis.call('HLEN', key_finished(run)) >= tonumber(ARGV[4]) then return cursor end
local free = tonumber(ARGV[3]) - redis.call('XLEN', key_stream(run))
for i = 5, #ARGV do
  if free <= 0 then break end
  if ARGV[i] ~= '' then
    local cid = conversation_id(run, cursor)
    local entry = redis.call('XADD', key_stream(run), '*', 'index', cursor)
    redis.call('HSET', key_conversation(cid), 'run', run, 'index', cursor, 'entry', entry, 'seed', ARGV[i], 'attempts', 0)
    free = free - 1
  end
  cursor = cursor + 1
end
redis.call('HSET', key_run(run), 'cursor', cursor)
settle_run(run)
return cursor
