-- A call of a chord's header arrives at its join. The keys are Celery's, so that workers of both kinds fill one join.
-- Loaded without the prelude.
--
-- KEYS    the group's keys: parts (.j), additions (.t), size (.s), who has arrived (.d), who makes the body (.c), and the saved group
-- ARGV    task id, part, place, ttl in s or 0, 1 if it has failed, our claim, how long a claim holds in s
-- result  the parts in order; nil: others are still to come, or it is the business of somebody else

local jkey, tkey, skey, dkey, ckey, gkey = unpack(KEYS)
local task, part, place, ttl, failed, claim, holds = unpack(ARGV)

if redis.call('GET', ckey) == 'done' then return false end

local function is_success(part)
  local ok, seen = pcall(cjson.decode, part)
  return ok and type(seen) == 'table' and seen[3] == 'SUCCESS'
end

local mended = false
local member = task .. ':' .. place
if redis.call('SADD', dkey, member) == 1 then
  redis.call('ZADD', jkey, place, part)
elseif failed == '0' then
  -- A success may take the place of a failure: it is found among the parts with this place.
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', jkey, place, place)) do
    local ok, seen = pcall(cjson.decode, old)
    if ok and type(seen) == 'table' and seen[2] == task and seen[3] ~= 'SUCCESS' then
      redis.call('ZREM', jkey, old)
      redis.call('ZADD', jkey, place, part)
      mended = true
    end
  end
end
if tonumber(ttl) > 0 then
  for _, key in ipairs({jkey, tkey, skey, dkey}) do redis.call('EXPIRE', key, ttl) end
  redis.call('EXPIRE', gkey, ttl)
end

local size = redis.call('GET', skey)
if not size or redis.call('ZCARD', jkey) < tonumber(size) + tonumber(redis.call('GET', tkey) or 0) then return false end
if mended then
  -- It is not the last that has to be mended: the body has failed already, and is not told again.
  for _, other in ipairs(redis.call('ZRANGE', jkey, 0, -1)) do
    if not is_success(other) then return false end
  end
end
-- A worker of Celery may be about to send the body. Ours may make it again: the broker takes it once.
local claimed = redis.call('GET', ckey)
if claimed and claimed ~= claim then return false end
redis.call('SET', ckey, claim, 'EX', holds)
return redis.call('ZRANGE', jkey, 0, -1)
