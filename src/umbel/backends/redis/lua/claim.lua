-- Lease the one message that was moved for a waiting node: the quick way for an idle queue. What is not plain (a time
-- to wait for, a priority of its own, a delivery that has been before) or not alone is left for reserve.lua, which
-- knows the order.
--
-- Without the prelude, whose functions cost more than all of this.
--
-- ARGV    1 the list it was moved to, 2 the list it came from, 3 :ranked, 4 :held, 5 :leases,
--         6 umbel:revoked:version, 7 lease in ms, 8 beginning of the token, 9 base priority of the list
-- result  { version of the revoked ids; count:priority:settled; frame } or 0: nothing was done

local call, find = redis.call, string.find

if call('LLEN', ARGV[1]) ~= 1 or call('EXISTS', ARGV[2], ARGV[3]) > 0 then return 0 end
local frame = call('LINDEX', ARGV[1], 0)
if find(frame, '"eta":%s*"') or find(frame, '"umbel_priority":', 1, true)
  or find(frame, '"umbel":%s*%[[%d,%s-]*%]}$', -64) then
  return 0
end
local time = call('TIME')
local lease_end = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[7])
local about = '1:' .. ARGV[9] .. ':0'
local token = ARGV[8] .. '0001:' .. about
call('HSET', ARGV[4], token, frame)
call('ZADD', ARGV[5], lease_end, token)
call('DEL', ARGV[1])
return { tonumber(call('GET', ARGV[6]) or 0), about, frame }
