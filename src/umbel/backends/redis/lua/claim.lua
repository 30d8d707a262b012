-- Lease the one message that was moved for a waiting node: the quick way for an idle queue. Whatever is not plain
-- (a time to wait for, a priority of its own, a delivery that has been before) is left for reserve.lua.
--
-- Without the prelude, whose functions cost more than all of this.
--
-- ARGV    1 the list it was moved to, 2 the list it came from, 3 :held, 4 :leases, 5 umbel:revoked:version,
--         6 lease in ms, 7 beginning of the token, 8 base priority of the list
-- result  { 1 when the list it came from holds more, else 0; version of the revoked ids; count:priority:settled; frame }
--         or 0: nothing was done

local call, find = redis.call, string.find

local frame = call('LINDEX', ARGV[1], -1)
if not frame or find(frame, '"eta":%s*"') or find(frame, '"umbel_priority":', 1, true)
  or find(frame, '"umbel":%s*%[[%d,%s-]*%]}$', -64) then
  return 0
end
local time = call('TIME')
local lease_end = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[6])
local about = '1:' .. ARGV[8] .. ':0'
local token = ARGV[7] .. '0001:' .. about
call('HSET', ARGV[3], token, frame)
call('ZADD', ARGV[4], lease_end, token)
call('RPOP', ARGV[1])
return { call('EXISTS', ARGV[2]), tonumber(call('GET', ARGV[5]) or 0), about, frame }
