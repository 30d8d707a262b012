-- Delete dead letters that are too old, and those that are too many.
--
-- own     the greatest age in ms or -1, how many to keep of each queue or -1, how many to delete at most
--         (what is handed to `unpack` has to fit on Lua's stack: 4000), the queues
-- result  how many were deleted

local age, most, room, deleted = tonumber(ARGV[own]), tonumber(ARGV[own + 1]), tonumber(ARGV[own + 2]), 0

local function drop(queue, names)
  if #names == 0 then return end
  call('HDEL', key(queue, 'dead:frames'), unpack(names))
  call('HDEL', key(queue, 'dead:tasks'), unpack(names))
  call('ZREM', key(queue, 'dead'), unpack(names))
  deleted = deleted + #names
  room = room - #names
end

for at = own + 3, #ARGV do
  local dead = key(ARGV[at], 'dead')
  if age >= 0 and room > 0 then
    drop(ARGV[at], call('ZRANGEBYSCORE', dead, '-inf', '(' .. (now_ms() - age), 'LIMIT', 0, room))
  end
  local surplus = most >= 0 and call('ZCARD', dead) - most or 0
  if surplus > 0 and room > 0 then
    drop(ARGV[at], call('ZRANGE', dead, 0, math.min(surplus, room) - 1))
  end
end
return deleted
