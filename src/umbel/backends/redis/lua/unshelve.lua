-- Take entries off the shelf of parked or dead messages: back into their queues with a clean count, or away.
--
-- own     "parked" or "dead", "requeue" or "discard", then pairs: queue, sequence
-- result  how many there were

local shelf, requeued, taken = ARGV[own], ARGV[own + 1] == 'requeue', 0
for at = own + 2, #ARGV, 2 do
  local queue, name = ARGV[at], ARGV[at + 1]
  local packed = call('HGET', key(queue, shelf .. ':frames'), name)
  if packed then
    if requeued then
      local _, priority, settled, reason, from = match(packed, '^(%d+):(%-?%d+):(%d):(%d+):()')
      push(queue, tonumber(priority), sub(packed, from + tonumber(reason)), 0, tonumber(settled))
    end
    if shelf == 'parked' then
      local names, task = key(queue, 'parked:names'), call('HGET', key(queue, 'parked:tasks'), name) or ''
      if call('HINCRBY', names, task, -1) <= 0 then call('HDEL', names, task) end
    end
    call('HDEL', key(queue, shelf .. ':frames'), name)
    call('HDEL', key(queue, shelf .. ':tasks'), name)
    call('ZREM', key(queue, shelf), name)
    taken = taken + 1
  end
end
return taken
