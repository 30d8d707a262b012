-- Shared by the scripts that move messages: each of them is loaded with this text in front of it.
--
-- ARGV  1          the global key prefix
--       2          n, how many lists a queue has
--       3 ..       n times: suffix of the list's key, priority that its messages have (its base), sooner first
--       own ..     the arguments of the script itself
--
-- Where a message can be (q is the queue; every key begins with the global prefix):
--   q<suffix>                    list    Celery's: new ones at the left end, the next one at the right end
--   umbel:{q}:woken<suffix>      list    moved out of Celery's list for a node that was waiting; served before it
--   umbel:{q}:rank:<priority>    list    sorted out of Celery's lists; served before woken and list of that priority
--   umbel:{q}:ranked             zset    the priorities that have such a list (score: minus priority), and "mixed"
--                                        (score 1000) while a list may hold others than its base priority
--   umbel:{q}:due                zset    "sequence:count:priority:frame" by the time it is due (server's ms)
--   umbel:{q}:held               hash    token -> frame
--   umbel:{q}:leases             zset    token by the end of its lease (server's ms)
--                                        A token is "holder:nonce:number:count:priority:settled": what must be known
--                                        to put the message back travels in it, because a frame is costly to copy.
--   umbel:{q}:parked, :dead      zset    sequence by the time it was put there (server's ms)
--   umbel:{q}:parked:frames, …   hash    sequence -> "count:priority:settled:length of reason:reason frame"
--   umbel:{q}:parked:tasks       hash    sequence -> name of the task, where whoever parked it said so
--   umbel:{q}:parked:names       hash    name of the task, or '' where nobody said it -> how many of it are parked
--   umbel:settled:<random>       string  what a batch of settlements was answered, for 600 s
--
-- A frame on a list carries what no field of Celery's can hold at the end of its JSON object, where other readers
-- ignore it: ,"umbel":[count,settled] or ,"umbel":[count,settled,priority]. count: deliveries so far; settled: 1 when
-- it has waited for its time already, so that a skewed eta header cannot send it back; priority: when no header says it.
--
-- No command here is newer than Redis 5: what is newer (ZMSCORE, LMOVE, RPOP with a count) would only save a little.

if redis.replicate_commands then redis.replicate_commands() end  -- before Redis 7, TIME needs it
local call, find, sub, byte, match = redis.call, string.find, string.sub, string.byte, string.match

local prefix, bands, own = ARGV[1], {}, 3
for i = 1, tonumber(ARGV[2]) do
  bands[i] = { suffix = ARGV[own], base = tonumber(ARGV[own + 1]) }
  own = own + 2
end

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function key(queue, name)
  return prefix .. 'umbel:{' .. queue .. '}:' .. name
end

local function sequence()
  return string.format('%016d', call('INCR', prefix .. 'umbel:sequence'))
end

-- Idle nodes block on Celery's lists and would not notice what happens elsewhere.
local function hint(queue)
  call('PUBLISH', prefix .. 'umbel:hints', queue)
end

local function band_of(priority)
  for i = 1, #bands do
    if priority >= bands[i].base then return bands[i] end
  end
  return bands[#bands]
end

local function mark(frame, count, settled, priority)
  if (count == 0 and settled == 0 and not priority) or byte(frame, -1) ~= 125 then return frame end
  local extra = priority and (',' .. priority) or ''
  return sub(frame, 1, -2) .. ',"umbel":[' .. count .. ',' .. settled .. extra .. ']}'
end

local function in_range(priority)
  return priority and math.max(-100, math.min(priority, 100))
end

-- Returns the frame without its mark, count, settled, priority (nil where it is not said).
local function unmark(frame)
  if byte(frame, -2) ~= 93 then return frame, 0, 0 end
  local at, _, count, settled, priority =
    find(frame, ',%s*"umbel":%s*%[(%d+),%s*(%d),?%s*(%-?%d*)%]}$', -64)
  if not at then return frame, 0, 0 end
  -- Whoever wrote it: what is out of range would be written as 1e+25, which names no list and opens no token.
  count = math.min(tonumber(count), 1000000)
  return sub(frame, 1, at - 1) .. '}', count, tonumber(settled), in_range(tonumber(priority))
end

local function header_priority(frame)
  local _, at = find(frame, '"umbel_priority":', 1, true)
  return at and in_range(tonumber(match(frame, '^%s*(%-?%d+)', at + 1)))
end

local function marked(frame, count, settled, priority, band)
  if priority == band.base or header_priority(frame) == priority then
    return mark(frame, count, settled)
  end
  return mark(frame, count, settled, priority)
end

-- As a new arrival: always on Celery's list, where any reader sees it.
local function push(queue, priority, frame, count, settled)
  local band = band_of(priority)
  if priority ~= band.base then call('ZADD', key(queue, 'ranked'), 1000, 'mixed') end
  call('LPUSH', prefix .. queue .. band.suffix, marked(frame, count, settled, priority, band))
end

-- Before everything of its priority that waits.
local function push_front(queue, priority, frame, count, settled)
  local band = band_of(priority)
  local rank = key(queue, 'rank:' .. priority)
  frame = marked(frame, count, settled, priority, band)
  if priority ~= band.base or call('EXISTS', rank) == 1 then
    call('ZADD', key(queue, 'ranked'), -priority, priority)
    call('RPUSH', rank, frame)
    hint(queue)
    return
  end
  local woken = key(queue, 'woken' .. band.suffix)
  if call('EXISTS', woken) == 1 then
    call('RPUSH', woken, frame)
    hint(queue)
  else
    call('RPUSH', prefix .. queue .. band.suffix, frame)
  end
end

local function schedule(queue, due, priority, count, frame)
  local due_key = key(queue, 'due')
  local member = sequence() .. ':' .. count .. ':' .. priority .. ':' .. frame
  call('ZADD', due_key, due, member)
  if call('ZRANK', due_key, member) == 0 then hint(queue) end
end

-- Returns count, priority, settled.
local function told(token)
  local count, priority, settled = match(token, ':(%d+):(%-?%d+):(%d)$')
  return tonumber(count), tonumber(priority), tonumber(settled)
end

-- One message on its way into a queue, as seven arguments from `at` on: mode ("back", "front", "due"), queue,
-- priority, milliseconds until due, dedupe key or "", its window in milliseconds, frame.
local SENDING = 7

-- What a key cannot take, nil when it can. Asked before the first write of a script, of every key that messages are sent to:
-- Redis does not take back what was written before a write that it refuses, and anybody may have put something else where the
-- list of a queue should be.
local fit = {}
local function unfit(name, kind)
  local is = fit[name] or call('TYPE', name).ok
  if is ~= 'none' and is ~= kind then
    return 'WRONGTYPE the key ' .. name .. ' holds a ' .. is .. ' and cannot hold messages (a ' .. kind .. ')'
  end
  fit[name] = kind
end

-- The same for all keys of a sending.
local function unfit_for(at)
  local queue = ARGV[at + 1]
  local wrong = unfit(prefix .. queue .. band_of(tonumber(ARGV[at + 2])).suffix, 'list')
  if not wrong and ARGV[at] == 'due' then wrong = unfit(key(queue, 'due'), 'zset') end
  return wrong
end

local named = {}
local function send(at, now)
  local mode, queue, priority, dedupe = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 4]
  if not named[queue] then  -- also where the message is dropped: the client will not name the queue again
    named[queue] = true
    call('SADD', prefix .. 'umbel:queues', queue)
  end
  if dedupe ~= '' and not call('SET', dedupe, '1', 'NX', 'PX', ARGV[at + 5]) then return end
  local frame, count, settled = unmark(ARGV[at + 6])
  if mode == 'due' then
    schedule(queue, now + tonumber(ARGV[at + 3]), priority, count, frame)
  elseif mode == 'front' then
    push_front(queue, priority, frame, count, settled)
  else
    push(queue, priority, frame, count, settled)
  end
end
