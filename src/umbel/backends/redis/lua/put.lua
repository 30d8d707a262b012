-- Store records as Celery does and tell those who wait. A stored SUCCESS is never overwritten. Loaded without the prelude.
--
-- KEYS    the records' keys, which are also the channels
-- ARGV    for each key: payload, ttl in ms or -1
-- result  how many were written

local written = 0
for i, name in ipairs(KEYS) do
  local payload, ttl = ARGV[2 * i - 1], ARGV[2 * i]
  local head = redis.call('GETRANGE', name, 0, 20)
  if not string.find(head, '^{"status":%s?"SUCCESS"') then
    if ttl == '-1' then
      redis.call('SET', name, payload)
    else
      redis.call('SET', name, payload, 'PX', ttl)
    end
    redis.call('PUBLISH', name, payload)
    written = written + 1
  end
end
return written
