-- Give back what was moved out of Celery's lists for a node that no longer waits: another one is woken.
--
-- own     the queues
-- result  how many messages were given back

local given = 0
for at = own, #ARGV do
  for i = 1, #bands do
    local woken, list = key(ARGV[at], 'woken' .. bands[i].suffix), prefix .. ARGV[at] .. bands[i].suffix
    -- The newest of them is at the left end, and must end up furthest from the front of the list.
    for _, frame in ipairs(call('LRANGE', woken, 0, -1)) do
      call('RPUSH', list, frame)
      given = given + 1
    end
    call('DEL', woken)
  end
end
return given
