-- Store a batch of messages that needs more than LPUSH: due later, deduplicated, or of a priority between the lists'.
--
-- own  sendings of seven arguments each, see `send` in prelude.lua
-- result  nothing; all of the batch is stored, or an error is raised before or at the first write and nothing is

for at = own, #ARGV, SENDING do
  local wrong = unfit_for(at)
  if wrong then return redis.error_reply(wrong) end
end
local now = now_ms()
for at = own, #ARGV, SENDING do send(at, now) end
