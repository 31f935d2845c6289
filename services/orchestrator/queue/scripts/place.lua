-- Moves a conversation's reservation from a replica that is lost to another: the one with the fewest reserved tokens,
-- whatever its budget, for the conversation is under way. ARGV: conversation, token, role, url, url, ...
-- Returns the URL, or false: the claim is not ours, or nothing was offered.
local cid, at = ARGV[1], 'at_' .. ARGV[3]
local fields = redis.call('HMGET', key_conversation(cid), 'token', 'need', at)
if fields[1] ~= ARGV[2] then return false end
local best, least
for i = 4, #ARGV do
  local tokens = tonumber(redis.call('HGET', key_reserved(), ARGV[i]) or 0)
  if not best or tokens < least then best, least = ARGV[i], tokens end
end
if not best then return false end
local need = tonumber(fields[2] or 0)
if not is_missing(fields[3]) then reserve(fields[3], -need) end
reserve(best, need)
redis.call('HSET', key_conversation(cid), at, best)
return best
