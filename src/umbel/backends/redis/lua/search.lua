-- One stretch of a list, zset or hash, as far as it holds a text: where is the message of this call?
--
-- own     "list", "zset" or "hash", the key without the global prefix, first index, how many, text
-- result  { how many entries were looked at, then those that hold the text }

local kind, name, text = ARGV[own], prefix .. ARGV[own + 1], ARGV[own + 4]
local first = tonumber(ARGV[own + 2])
local last = first + tonumber(ARGV[own + 3]) - 1
local entries
if kind == 'list' then
  entries = call('LRANGE', name, first, last)
elseif kind == 'zset' then
  entries = call('ZRANGE', name, first, last)
else
  entries = first == 0 and call('HVALS', name) or {}
end
local result = { #entries }
for i = 1, #entries do
  if find(entries[i], text, 1, true) then result[#result + 1] = entries[i] end
end
return result
