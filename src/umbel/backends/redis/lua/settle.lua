-- Carry out settlements. First every token is checked, and every key that messages go to; then everything is written, and
-- only then is anything removed: a write that the server refuses for lack of memory is the first one, and leaves all as it was.
--
-- Loaded with memo.lua, record.lua and the prelude.
--
-- own     where the answer is remembered; the word for memo.lua; number of the result store's database; of the broker's; then for each settlement:
--           kind ("ack", "release", "uncounted", "bury", "park"), queue, token, reason, name of the task or "",
--           1 when a record follows, else 0; the record: key, payload, ttl in ms or -1;
--           how many sendings follow; the sendings, see `send` in prelude.lua
-- result  the positions (from 1) of the settlements whose token is stale; nothing was done for them. An error: nothing was done

local memo, word, store_db, broker_db = ARGV[own], ARGV[own + 1], ARGV[own + 2], ARGV[own + 3]
local answer = told_again(memo, word)
if answer then return answer end

local now = now_ms()
local at, position = own + 4, 0
local stale, live, records, seen, gone, wrong = {}, {}, {}, {}, {}, nil

while at <= #ARGV do
  position = position + 1
  local item = { kind = ARGV[at], queue = ARGV[at + 1], token = ARGV[at + 2], reason = ARGV[at + 3] }
  item.task = ARGV[at + 4]
  local recorded = ARGV[at + 5] == '1'
  item.record = at + 6
  at = at + (recorded and 9 or 6)
  item.sendings, item.sent = tonumber(ARGV[at]), at + 1
  at = at + 1 + item.sendings * SENDING
  if not seen[item.token] and call('ZSCORE', key(item.queue, 'leases'), item.token) then
    seen[item.token] = true
    live[#live + 1] = item
    if recorded then records[#records + 1] = item.record end
    for s = 0, item.sendings - 1 do wrong = wrong or unfit_for(item.sent + s * SENDING) end
    if item.kind == 'release' or item.kind == 'uncounted' then
      local _, priority = told(item.token)
      wrong = wrong or unfit(prefix .. item.queue .. band_of(priority).suffix, 'list')
    end
  else
    stale[#stale + 1] = position
  end
end

if wrong then return redis.error_reply(wrong) end

if #records > 0 then
  local elsewhere = store_db ~= broker_db
  if elsewhere then call('SELECT', store_db) end
  for i = 1, #records do
    local r = records[i]
    store_record(ARGV[r], ARGV[r + 1], ARGV[r + 2])
  end
  if elsewhere then call('SELECT', broker_db) end
end

local function shelve(shelf, item)
  local name, frame = sequence(), call('HGET', key(item.queue, 'held'), item.token)
  local count, priority, settled = told(item.token)
  call('HSET', key(item.queue, shelf .. ':frames'), name,
    count .. ':' .. priority .. ':' .. settled .. ':' .. #item.reason .. ':' .. item.reason .. frame)
  if item.task ~= '' then call('HSET', key(item.queue, shelf .. ':tasks'), name, item.task) end
  if shelf == 'parked' then call('HINCRBY', key(item.queue, 'parked:names'), item.task, 1) end
  call('ZADD', key(item.queue, shelf), now, name)
end

local SHELF = { bury = 'dead', park = 'parked' }

for i = 1, #live do
  local item = live[i]
  for s = 1, item.sendings do send(item.sent + (s - 1) * SENDING, now) end
  if SHELF[item.kind] then shelve(SHELF[item.kind], item) end
  local tokens = gone[item.queue]
  if not tokens then
    tokens = {}
    gone[item.queue] = tokens
  end
  tokens[#tokens + 1] = item.token
end

-- From the last to the first, so that the first, which was delivered first, ends up in front.
for i = #live, 1, -1 do
  local item = live[i]
  if item.kind == 'release' or item.kind == 'uncounted' then
    local count, priority, settled = told(item.token)
    if item.kind == 'uncounted' then count = count - 1 end
    push_front(item.queue, priority, call('HGET', key(item.queue, 'held'), item.token), count, settled)
  end
end

for queue, tokens in pairs(gone) do
  for first = 1, #tokens, 4000 do
    local last = math.min(first + 3999, #tokens)
    call('HDEL', key(queue, 'held'), unpack(tokens, first, last))
    call('ZREM', key(queue, 'leases'), unpack(tokens, first, last))
  end
end
return remember(memo, word, stale)
