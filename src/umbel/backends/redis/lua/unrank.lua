-- Put sorted messages back into Celery's lists, in front and in their order: the last Umbel node of a queue leaves, and
-- Celery's workers must see what waits.
--
-- own     a queue, how many messages to move at most
-- result  how many were moved

local queue, budget, moved = ARGV[own], tonumber(ARGV[own + 1]), 0
local ranked = key(queue, 'ranked')
local levels = call('ZREVRANGE', ranked, 0, -1)  -- the latest to be served first: it goes in furthest from the front
for i = 1, #levels do
  if levels[i] ~= 'mixed' and moved < budget then
    local rank, band = key(queue, 'rank:' .. levels[i]), band_of(tonumber(levels[i]))
    local frames = call('LRANGE', rank, 0, math.min(budget - moved, 4000) - 1)
    if #frames > 0 then
      call('ZADD', ranked, 1000, 'mixed')
      call('RPUSH', prefix .. queue .. band.suffix, unpack(frames))
      call('LTRIM', rank, #frames, -1)
      moved = moved + #frames
    end
    if call('EXISTS', rank) == 0 then
      call('ZREM', ranked, levels[i])
    else
      break  -- a lower priority must be in completely before a higher one follows
    end
  end
end
return moved
