-- The quick way for a batch that only acknowledges messages of one queue. Loaded without the prelude.
--
-- KEYS    the held hash, the leases zset
-- ARGV    tokens, at most 4000
-- result  the positions (from 1) of stale tokens

local tokens = #ARGV
if redis.call('HDEL', KEYS[1], unpack(ARGV)) == tokens then
  redis.call('ZREM', KEYS[2], unpack(ARGV))
  return {}
end
local stale = {}
for i = 1, tokens do
  if redis.call('ZREM', KEYS[2], ARGV[i]) == 0 then stale[#stale + 1] = i end
end
return stale
