-- Replace the frame of a dead letter; its reason and its deliveries stay.
--
-- own     queue, sequence, new priority, new frame
-- result  1, or 0 when there is no such entry

local frames, name = key(ARGV[own], 'dead:frames'), ARGV[own + 1]
local packed = call('HGET', frames, name)
if not packed then return 0 end
local count, settled, length, from = match(packed, '^(%d+):%-?%d+:(%d):(%d+):()')
local reason = sub(packed, from, from + tonumber(length) - 1)
call('HSET', frames, name, count .. ':' .. ARGV[own + 2] .. ':' .. settled .. ':' .. length .. ':' .. reason .. ARGV[own + 3])
return 1
