-- Shared by the scripts that store records, put in front of them when they are loaded.
--
-- A stored SUCCESS is never overwritten. Our records and Celery's in JSON begin with the status; what does not is read
-- in full. Of the other serializers, msgpack and pickle write the status first too, YAML sorts its keys.

local function holds_success(name)
  local head = redis.call('GETRANGE', name, 0, 63)
  if head == '' then return false end
  local status = string.match(head, '^{"status":%s?"([^"\\]*)"')
  if status then return status == 'SUCCESS' end
  if string.byte(head) ~= 123 then
    local between = string.match(head, 'status(.-)SUCCESS')
    return between ~= nil and #between <= 9
      or string.find('\n' .. redis.call('GET', name), '\nstatus: SUCCESS\n', 1, true) ~= nil
  end
  local payload = redis.call('GET', name)
  if not string.find(payload, '"SUCCESS"', 1, true) then return false end
  local fine, meta = pcall(cjson.decode, payload)
  return fine and type(meta) == 'table' and meta.status == 'SUCCESS'
end

-- ttl: milliseconds, or "-1" for no end. Returns whether it was written. Those who wait are told on a channel of the
-- key's name.
local function store_record(name, payload, ttl)
  local written
  if ttl == '-1' then
    written = redis.call('SET', name, payload, 'NX')
    if not written and not holds_success(name) then written = redis.call('SET', name, payload) end
  else
    written = redis.call('SET', name, payload, 'PX', ttl, 'NX')
    if not written and not holds_success(name) then written = redis.call('SET', name, payload, 'PX', ttl) end
  end
  if written then redis.call('PUBLISH', name, payload) end
  return written
end
