-- The quick way for a batch that acknowledges messages and stores the record of each. First every token is checked, then
-- every record is written, and only then is anything removed: see settle.lua.
--
-- Loaded with record.lua, without the prelude.
--
-- KEYS    where the answer is remembered, then for each queue the held hash and the leases zset
-- ARGV    the name of the batch after '!', or after '?' when it was sent before and the answer did not come; number of the
--         result store's database; of the broker's; then for each queue how many messages, and for each: token, key, payload, ttl in ms or -1; at
--         most 1000 in all
-- result  the positions (from 1, over all queues) of stale tokens; nothing was done for them

local call = redis.call
local batch = string.sub(ARGV[1], 2)

-- What this batch was answered before; nil when it was not carried out.
local function told_before()
  local answered = call('GET', KEYS[1])
  if answered and string.sub(answered, 1, #batch) == batch then return cjson.decode(string.sub(answered, #batch + 1)) end
end

if string.sub(ARGV[1], 1, 1) == '?' then
  local answer = told_before()
  if answer then return answer end
end

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
-- A first request that was held up may come in after the repeated one: what that was answered stays true.
local earlier = #stale > 0 and told_before()
if earlier then return earlier end
call('SET', KEYS[1], batch .. cjson.encode(stale), 'PX', 600000)
return stale
