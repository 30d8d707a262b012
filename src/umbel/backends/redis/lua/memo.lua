-- Shared by the scripts that settle, put in front of them when they are loaded: what a batch was answered is remembered for
-- ten minutes, for whoever has not got the answer and asks again.
--
-- memo  the key; word  the name of the batch after '!', or after '?' when it was sent before and the answer did not come

-- What this batch was answered before; nil when it was not carried out.
local function told_before(memo, word)
  local batch, answered = string.sub(word, 2), redis.call('GET', memo)
  if answered and string.sub(answered, 1, #batch) == batch then return cjson.decode(string.sub(answered, #batch + 1)) end
end

-- The same for a batch that says that it was sent before; nil for any other.
local function told_again(memo, word)
  if string.sub(word, 1, 1) == '?' then return told_before(memo, word) end
end

-- The answer, remembered. A first request that was held up may come in after the repeated one: what that was answered stays true.
local function remember(memo, word, stale)
  local earlier = #stale > 0 and told_before(memo, word)
  if earlier then return earlier end
  redis.call('SET', memo, string.sub(word, 2) .. cjson.encode(stale), 'PX', 600000)
  return stale
end
