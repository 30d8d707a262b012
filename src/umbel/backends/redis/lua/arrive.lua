-- A call of a chord's header arrives at its join. The keys are Celery's, so that workers of both kinds fill one join.
-- Loaded without the prelude.
--
-- KEYS    the group's keys: parts (.j), additions (.t), size (.s), who has arrived (.d), who makes the body (.c), the saved
--         group, and, ours alone, what those have brought that failed (.f)
-- ARGV    task id, part, place, ttl in s or 0, 1 if it has failed, our claim, how long a claim holds in ms
-- result  the parts in order; nil: others are still to come, or it is the business of somebody else

local jkey, tkey, skey, dkey, ckey, gkey, fkey = unpack(KEYS)
local task, part, place, ttl, failed, claim, holds = unpack(ARGV)

if redis.call('GET', ckey) == 'done' then return false end

local mended = false
local member = task .. ':' .. place
if redis.call('SADD', dkey, member) == 1 then
  redis.call('ZADD', jkey, place, part)
  if failed == '1' then redis.call('HSET', fkey, member, part) end
elseif failed == '0' then
  -- A success may take the place of a failure.
  local old = redis.call('HGET', fkey, member)
  if old then
    redis.call('HDEL', fkey, member)
    redis.call('ZREM', jkey, old)
    redis.call('ZADD', jkey, place, part)
    mended = true
  end
end
if tonumber(ttl) > 0 then
  for _, key in ipairs({jkey, tkey, skey, dkey, fkey, gkey}) do redis.call('EXPIRE', key, ttl) end
end

local size = redis.call('GET', skey)
if not size or redis.call('ZCARD', jkey) < tonumber(size) + tonumber(redis.call('GET', tkey) or 0) then return false end
-- It is not the last that has to be mended: the body has failed already, and is not told again.
if mended and redis.call('HLEN', fkey) > 0 then return false end
-- A worker of Celery may be about to send the body. Ours may make it again: the broker takes it once. Our claim is short: a call
-- that dies with it is delivered again, perhaps to a worker of Celery, who must find it free.
local claimed = redis.call('GET', ckey)
if claimed and claimed ~= claim then return false end
redis.call('SET', ckey, claim, 'PX', holds)
return redis.call('ZRANGE', jkey, 0, -1)
