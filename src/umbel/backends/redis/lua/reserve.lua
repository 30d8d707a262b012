-- Take messages under lease, after bringing back what is overdue.
--
-- own     token prefix, lease in ms, limit, then the queues; equal ones: the caller rotates them
-- result  { ms until a lease ends or a message is due (-1: nothing), version of the revoked ids,
--           then for each message in order of service: index of its queue (from 1), count:priority:settled, frame }
--         The token of the i-th message is the prefix, i in four hexadecimal digits, ":" and count:priority:settled.

local RESTORED, PROMOTED, DIVERTED, SORTED, CHUNK = 200, 500, 1000, 10000, 1000

local now = now_ms()
local token_prefix, lease_end, room = ARGV[own], now + tonumber(ARGV[own + 1]), tonumber(ARGV[own + 2])
local reply = { -1, tonumber(call('GET', prefix .. 'umbel:revoked:version') or 0) }
local upcoming, issued = nil, 0

local function expect(at)
  if at and (not upcoming or at < upcoming) then upcoming = at end
end

-- What a dead node held goes back to where it was, the oldest in front, and keeps its count.
local function restore(queue)
  local leases, held = key(queue, 'leases'), key(queue, 'held')
  local tokens = call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, RESTORED)
  for i = #tokens, 1, -1 do
    local frame = call('HGET', held, tokens[i])
    if frame then
      local count, priority, settled = told(tokens[i])
      push_front(queue, priority, frame, count, settled)
      call('HDEL', held, tokens[i])
    end
    call('ZREM', leases, tokens[i])
  end
end

local function promote(queue)
  local due = key(queue, 'due')
  local members = call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, PROMOTED)
  for i = 1, #members do
    local count, priority, at = match(members[i], '^%d+:(%d+):(%-?%d+):()')
    local frame = sub(members[i], at)
    local settled = find(frame, '"eta":%s*"') and 1 or 0
    push(queue, tonumber(priority), frame, tonumber(count), settled)
    call('ZREM', due, members[i])
  end
end

-- A list may hold other priorities than its own: sort everything into a list for each. Bounded, because it blocks the
-- server; what is left over is sorted by the next calls, and is served after what has been sorted until then.
local function sort(queue)
  local ranked, budget = key(queue, 'ranked'), SORTED
  local function drain(source, base)
    while budget > 0 do
      local frames = call('LRANGE', source, -CHUNK, -1)
      local n = #frames
      if n == 0 then return end
      local levels = {}
      for i = n, 1, -1 do
        local _, _, _, said = unmark(frames[i])
        local priority = said or header_priority(frames[i]) or base
        local level = levels[priority]
        if not level then
          level = {}
          levels[priority] = level
        end
        level[#level + 1] = frames[i]
      end
      for priority, level in pairs(levels) do
        call('ZADD', ranked, -priority, priority)
        call('LPUSH', key(queue, 'rank:' .. priority), unpack(level))
      end
      call('LTRIM', source, 0, -(n + 1))
      budget = budget - n
    end
  end
  for i = 1, #bands do
    drain(key(queue, 'woken' .. bands[i].suffix), bands[i].base)
    drain(prefix .. queue .. bands[i].suffix, bands[i].base)
  end
  if budget > 0 then call('ZREM', ranked, 'mixed') end
end

-- The lists to take from. `order` says which of those with the same priority comes first: what has been sorted, then
-- band by band, queue by queue, what was moved for a waiting node and then Celery's list.
local sources, queues = {}, {}
local function source(at, priority, order, list, level)
  sources[#sources + 1] = { at = at, priority = priority, order = order, list = list, level = level }
end
for at = own + 3, #ARGV do
  local queue = ARGV[at]
  queues[#queues + 1] = queue
  local leases, due, ranked = key(queue, 'leases'), key(queue, 'due'), key(queue, 'ranked')
  local first = call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
  if first and tonumber(first) <= now then
    restore(queue)
    first = call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
  end
  expect(tonumber(first))
  first = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  if first and tonumber(first) <= now then
    promote(queue)
    first = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  end
  expect(tonumber(first))
  local levels = call('ZRANGE', ranked, 0, -1)
  if levels[#levels] == 'mixed' then
    sort(queue)
    levels = call('ZRANGE', ranked, 0, -1)
  end
  for i = 1, #levels do
    if levels[i] ~= 'mixed' then
      source(#queues, tonumber(levels[i]), #queues, key(queue, 'rank:' .. levels[i]), levels[i])
    end
  end
end
-- Looking once at several keys is cheaper than looking into each: most of them are not there most of the time.
local function source_each(at, keys, second)
  if call('EXISTS', unpack(keys)) > 0 then
    for i = 1, #bands do source(at, bands[i].base, (i * #queues + at) * 2 + second, keys[i]) end
  end
end
for at = 1, #queues do
  local woken, lists = {}, {}
  for i = 1, #bands do
    woken[i] = key(queues[at], 'woken' .. bands[i].suffix)
    lists[i] = prefix .. queues[at] .. bands[i].suffix
  end
  source_each(at, woken, 0)
  source_each(at, lists, 1)
end
table.sort(sources, function(a, b)
  if a.priority ~= b.priority then return a.priority > b.priority end
  return a.order < b.order
end)

local function digits(text, first, last)
  return tonumber(sub(text, first, last))
end

-- Milliseconds since 1970 of an ISO 8601 instant; without an offset it is UTC. nil when it is not one.
local function instant(text)
  local rest = match(text, '^%d%d%d%d%-%d%d%-%d%d[T ]%d%d:%d%d(.*)$')
  if not rest then return nil end
  local year, month, day = digits(text, 1, 4), digits(text, 6, 7), digits(text, 9, 10)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local days = era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
  local seconds = days * 86400 + digits(text, 12, 13) * 3600 + digits(text, 15, 16) * 60
  seconds = seconds + tonumber(match(rest, '^:(%d%d)') or 0)
  local fraction = tonumber('0.' .. (match(rest, '^:%d%d[.,](%d+)') or '0'))
  local sign, hours, minutes = match(rest, '([+-])(%d%d):?(%d%d)$')
  if sign then
    local offset = tonumber(hours) * 3600 + tonumber(minutes) * 60
    seconds = sign == '+' and seconds - offset or seconds + offset
  end
  return math.floor((seconds + fraction) * 1000)
end

-- When a message from Celery's list asks for a later time, that time in ms, else nil. The quick look cannot be
-- deceived by text inside strings, where quotes are escaped; what it lets through is decoded properly.
local function later(frame)
  local _, at = find(frame, '"eta":', 1, true)
  if not at then return nil end
  local sign = byte(frame, at + 1)
  if sign == 32 then sign = byte(frame, at + 2) end
  if sign ~= 34 then return nil end
  local fine, entry = pcall(cjson.decode, frame)
  local headers = fine and type(entry) == 'table' and entry.headers
  local eta = type(headers) == 'table' and headers.eta
  local due = type(eta) == 'string' and instant(eta)
  return due and due > now and due or nil
end

local diverted = 0

local function take(from)
  local queue = queues[from.at]
  local held, leases = key(queue, 'held'), key(queue, 'leases')
  while room > 0 and diverted < DIVERTED do
    local wanted = math.min(room, CHUNK)
    local frames = call('LRANGE', from.list, -wanted, -1)
    local n = #frames
    if n == 0 then break end
    local entries, scores = {}, {}
    for i = n, 1, -1 do
      local frame, count, settled = unmark(frames[i])
      local due = settled == 0 and later(frame)
      if due then
        schedule(queue, due, from.priority, count, frame)
        expect(due)
        diverted = diverted + 1
      else
        issued = issued + 1
        local about = (count + 1) .. ':' .. from.priority .. ':' .. settled
        local token = token_prefix .. string.format('%04x:', issued) .. about
        local e, r = #entries, #reply
        entries[e + 1], entries[e + 2] = token, frame
        scores[e + 1], scores[e + 2] = lease_end, token
        reply[r + 1], reply[r + 2], reply[r + 3] = from.at, about, frame
        room = room - 1
      end
    end
    if #entries > 0 then
      call('HSET', held, unpack(entries))
      call('ZADD', leases, unpack(scores))
      expect(lease_end)
    end
    call('LTRIM', from.list, 0, -(n + 1))
    if n < wanted then break end
  end
  if from.level and call('EXISTS', from.list) == 0 then
    call('ZREM', key(queue, 'ranked'), from.level)
  end
end

for i = 1, #sources do
  if room <= 0 then break end
  take(sources[i])
end
if diverted >= DIVERTED then upcoming = now end
if upcoming then reply[1] = math.max(upcoming - now, 0) end
return reply
