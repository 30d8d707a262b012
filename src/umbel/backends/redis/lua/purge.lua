-- Delete what waits or is scheduled; leases that have ended were waiting too.
--
-- own     the queues
-- result  how many messages were deleted

local now, deleted = now_ms(), 0
local function drop(name, length)
  deleted = deleted + call(length, name)
  call('UNLINK', name)
end
for at = own, #ARGV do
  local queue = ARGV[at]
  for i = 1, #bands do
    drop(prefix .. queue .. bands[i].suffix, 'LLEN')
    drop(key(queue, 'woken' .. bands[i].suffix), 'LLEN')
  end
  for _, level in ipairs(call('ZRANGE', key(queue, 'ranked'), 0, -1)) do
    if level ~= 'mixed' then drop(key(queue, 'rank:' .. level), 'LLEN') end
  end
  call('DEL', key(queue, 'ranked'))
  drop(key(queue, 'due'), 'ZCARD')
  for _, token in ipairs(call('ZRANGEBYSCORE', key(queue, 'leases'), '-inf', now)) do
    deleted = deleted + call('HDEL', key(queue, 'held'), token)
    call('ZREM', key(queue, 'leases'), token)
  end
end
return deleted
