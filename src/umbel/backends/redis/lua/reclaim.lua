-- Take back everything that was given out under tokens with a common beginning.
--
-- own     beginning of the tokens; "end": their leases end now, a crash that counts, and the next reserve brings the
--         messages back; "undo": the messages go back at once as if they had never been delivered; then the queues
-- result  how many there were

local beginning, undo, found = ARGV[own], ARGV[own + 1] == 'undo', 0
for at = own + 2, #ARGV do
  local queue, before = ARGV[at], found
  local leases, held = key(queue, 'leases'), key(queue, 'held')
  local tokens = call('ZRANGE', leases, 0, -1)
  for i = #tokens, 1, -1 do
    if sub(tokens[i], 1, #beginning) == beginning then
      found = found + 1
      if undo then
        local count, priority, settled = told(tokens[i])
        push_front(queue, priority, call('HGET', held, tokens[i]), count - 1, settled)
        call('HDEL', held, tokens[i])
        call('ZREM', leases, tokens[i])
      else
        call('ZADD', leases, 0, tokens[i])
      end
    end
  end
  if found > before and not undo then hint(queue) end
end
return found
