-- Put plain messages on several lists, or on one of a queue that may be new: all of them, or none and an error. In MULTI one
-- list could refuse its messages and the others would have theirs.
--
-- own  how many queues to name, and their names; then for each list: its key, how many entries, the entries

local first = own + 1 + ARGV[own]
local at = first
while at <= #ARGV do
  local wrong = unfit(ARGV[at], 'list')
  if wrong then return redis.error_reply(wrong) end
  at = at + 2 + ARGV[at + 1]
end

for i = own + 1, first - 1 do call('SADD', prefix .. 'umbel:queues', ARGV[i]) end
at = first
while at <= #ARGV do
  local last = at + 1 + ARGV[at + 1]
  for i = at + 2, last, 4000 do
    call('LPUSH', ARGV[at], unpack(ARGV, i, math.min(i + 3999, last)))
  end
  at = last + 1
end
