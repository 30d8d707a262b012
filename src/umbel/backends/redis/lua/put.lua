-- Store records as Celery does. Loaded with record.lua, without the prelude.
--
-- KEYS    the records' keys, which are also the channels
-- ARGV    for each key: payload, ttl in ms or -1
-- result  how many were written

local written = 0
for i, name in ipairs(KEYS) do
  if store_record(name, ARGV[2 * i - 1], ARGV[2 * i]) then written = written + 1 end
end
return written
