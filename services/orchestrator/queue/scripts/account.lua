-- What a speaker of a run has used of chat APIs in all; the last word counts. ARGV: run, SIDE:ID of the speaker, account.
redis.call('HSET', key_accounts(ARGV[1]), ARGV[2], ARGV[3])
