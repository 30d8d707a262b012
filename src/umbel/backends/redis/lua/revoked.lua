-- The ids that were revoked after a version.
--
-- own     the version that the caller knows
-- result  { the version now, then pairs: id, ms for which it is still remembered }

local now = now_ms()
local result = { tonumber(call('GET', prefix .. 'umbel:revoked:version') or 0) }
for _, id in ipairs(call('ZRANGEBYSCORE', prefix .. 'umbel:revoked:log', '(' .. ARGV[own], '+inf')) do
  local ends = tonumber(call('ZSCORE', prefix .. 'umbel:revoked', id) or 0)
  if ends > now then
    result[#result + 1] = id
    result[#result + 1] = ends - now
  end
end
return result
