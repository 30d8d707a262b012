-- Keep and tell which nodes live.
--
-- own     nothing: only tell; or a node's id, its ttl in ms (0: it leaves), what it says of itself, its queues
-- result  pairs for each node that lives, last heard first: what it says, ms since it was heard

local now = now_ms()
local seen, ends, said = prefix .. 'umbel:nodes', prefix .. 'umbel:nodes:ends', prefix .. 'umbel:nodes:said'
local function forget(id)
  call('ZREM', seen, id)
  call('ZREM', ends, id)
  call('HDEL', said, id)
end
for _, id in ipairs(call('ZRANGEBYSCORE', ends, '-inf', now)) do forget(id) end
local id = ARGV[own]
if id then
  local ttl = tonumber(ARGV[own + 1])
  if ttl > 0 then
    call('ZADD', seen, now, id)
    call('ZADD', ends, now + ttl, id)
    call('HSET', said, id, ARGV[own + 2])
    for at = own + 3, #ARGV do call('SADD', prefix .. 'umbel:queues', ARGV[at]) end
  else
    forget(id)
  end
end
local result, alive = {}, call('ZREVRANGE', seen, 0, -1, 'WITHSCORES')
for i = 1, #alive, 2 do
  result[#result + 1] = call('HGET', said, alive[i])
  result[#result + 1] = now - tonumber(alive[i + 1])
end
return result
