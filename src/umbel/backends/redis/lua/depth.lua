-- Count what is where. A lease that has ended and a message that is due count as waiting.
--
-- own     the queues
-- result  five numbers for each queue: waiting, scheduled, held, parked, dead

local now, result = now_ms(), {}
for at = own, #ARGV do
  local queue = ARGV[at]
  local waiting = call('ZCOUNT', key(queue, 'leases'), '-inf', now) + call('ZCOUNT', key(queue, 'due'), '-inf', now)
  for i = 1, #bands do
    waiting = waiting + call('LLEN', prefix .. queue .. bands[i].suffix)
    waiting = waiting + call('LLEN', key(queue, 'woken' .. bands[i].suffix))
  end
  for _, level in ipairs(call('ZRANGE', key(queue, 'ranked'), 0, -1)) do
    if level ~= 'mixed' then waiting = waiting + call('LLEN', key(queue, 'rank:' .. level)) end
  end
  result[#result + 1] = waiting
  result[#result + 1] = call('ZCOUNT', key(queue, 'due'), '(' .. now, '+inf')
  result[#result + 1] = call('ZCOUNT', key(queue, 'leases'), '(' .. now, '+inf')
  result[#result + 1] = call('ZCARD', key(queue, 'parked'))
  result[#result + 1] = call('ZCARD', key(queue, 'dead'))
end
return result
