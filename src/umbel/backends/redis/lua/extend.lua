-- Let leases end a while from now.
--
-- own     lease in ms, then pairs: queue, token
-- result  the positions (from 1) of the pairs whose token is stale

local ends = now_ms() + tonumber(ARGV[own])
local stale, position = {}, 0
for at = own + 1, #ARGV, 2 do
  position = position + 1
  local leases = key(ARGV[at], 'leases')
  if call('ZSCORE', leases, ARGV[at + 1]) then
    call('ZADD', leases, ends, ARGV[at + 1])
  else
    stale[#stale + 1] = position
  end
end
return stale
