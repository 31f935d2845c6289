-- Shows an utterance in the making to those who watch its conversation. ARGV: conversation, message.
redis.call('PUBLISH', key_partial(ARGV[1]), ARGV[2])
