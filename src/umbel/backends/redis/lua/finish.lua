-- The quick way for a batch that acknowledges messages and stores the record of each. First every token is checked, then
-- every record is written, and only then is anything removed: see settle.lua.
--
-- Loaded with memo.lua and record.lua, without the prelude.
--
-- KEYS    where the answer is remembered, then for each queue the held hash and the leases zset
-- ARGV    the word for memo.lua; number of the result store's database; of the broker's; then for each queue how many
--         messages, and for each: token, key, payload, ttl in ms or -1; at most 1000 in all
-- result  the positions (from 1, over all queues) of stale tokens; nothing was done for them

local call = redis.call
local answer = told_again(KEYS[1], ARGV[1])
if answer then return answer end

local store_db, broker_db, at, position = ARGV[2], ARGV[3], 4, 0
local stale, live, seen, gone = {}, {}, {}, {}
for k = 2, #KEYS, 2 do
  local tokens, count = {}, tonumber(ARGV[at])
  for i = at + 1, at + count * 4, 4 do
    local token = ARGV[i]
    position = position + 1
    if not seen[token] and call('ZSCORE', KEYS[k + 1], token) then
      seen[token] = true
      live[#live + 1] = i
      tokens[#tokens + 1] = token
    else
      stale[#stale + 1] = position
    end
  end
  gone[k] = tokens
  at = at + 1 + count * 4
end

if store_db ~= broker_db then call('SELECT', store_db) end
for i = 1, #live do store_record(ARGV[live[i] + 1], ARGV[live[i] + 2], ARGV[live[i] + 3]) end
if store_db ~= broker_db then call('SELECT', broker_db) end

for k, tokens in pairs(gone) do
  if #tokens > 0 then
    call('HDEL', KEYS[k], unpack(tokens))
    call('ZREM', KEYS[k + 1], unpack(tokens))
  end
end
return remember(KEYS[1], ARGV[1], stale)
