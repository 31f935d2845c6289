-- A worker says how it does; one that has left, or lost its claims, is not heard any more. ARGV: worker, report.
if redis.call('SISMEMBER', key_workers(), ARGV[1]) == 0 then return end
local now = redis.call('TIME')
redis.call('HSET', key_reports(), ARGV[1], string.format('%d%06d ', now[1], now[2]) .. ARGV[2])
