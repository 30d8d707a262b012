-- Remember ids of calls that must not run, and raise the version by which nodes notice.
--
-- own     window in ms, then the ids
-- result  the new version

local now = now_ms()
local version = call('INCR', prefix .. 'umbel:revoked:version')
local ends, log = prefix .. 'umbel:revoked', prefix .. 'umbel:revoked:log'
for _, id in ipairs(call('ZRANGEBYSCORE', ends, '-inf', now)) do
  call('ZREM', ends, id)
  call('ZREM', log, id)
end
for at = own + 1, #ARGV do
  call('ZADD', ends, now + tonumber(ARGV[own]), ARGV[at])
  call('ZADD', log, version, ARGV[at])
end
return version
