META = {
    # Not a product: the least that can be called a reliable queue on Redis (Lua batch pop into an in-flight hash, call, ack and
    # next pop in one pipeline). It shows the harness's own ceiling and serves as the example of an adapter.
    "venv": "bare",
    "broker": "redis",
    "dists": ["redis", "hiredis"],
    "default_profile": "w2",
    "profiles": {
        "w1": {"argv": ["{py}", "-m", "adapters.minimal"]},
        "w2": {"argv": [["{py}", "-m", "adapters.minimal"], ["{py}", "-m", "adapters.minimal"]]},
    },
}
import json  # noqa: E402
import os  # noqa: E402

import redis  # noqa: E402
import benchlib as b  # noqa: E402

POP = """
local b = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
local n = #b
if n == 0 then return b end
redis.call('LTRIM', KEYS[1], 0, -n - 1)
local h = {}
for i = 1, n do h[2*i-1] = ARGV[2] .. ':' .. i; h[2*i] = b[i] end
redis.call('HSET', KEYS[2], unpack(h))
return b
"""
r = redis.Redis(port=b.REDIS_PORT)


def noop(i, j, label=""):
    b.body_noop(i)


def noop_r(i, j, label=""):
    return b.body_noop_r(i)


def io(i, j, label=""):
    b.body_io(i)


def ms(i, j, label=""):
    b.body_ms(i)


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms}


def msg(i, kind, id):
    return json.dumps({"id": id, "task": kind, "args": [i, 7], "kwargs": {"label": "abc"}})


def enqueue(i, kind="noop"):
    id = os.urandom(12).hex()
    r.lpush("q", msg(i, kind, id))
    return id


def enqueue_bulk(ids, kind="noop"):
    r.lpush("q", *[msg(i, kind, os.urandom(12).hex()) for i in ids])


def result(id, timeout):
    return json.loads(r.blpop("res:" + id, timeout=timeout)[1])


def work(batch=100):
    sha = r.script_load(POP)
    me, tag = str(os.getpid()), 0
    items = []
    while True:
        if not items:
            v = r.blmove(
                "q", "wake", 5, "RIGHT", "RIGHT"
            )  # sleep until there is something, then put it back in place
            if v is None:
                continue
            p = r.pipeline()
            p.lrem("wake", 1, v)
            p.rpush("q", v)
        else:
            p = r.pipeline(transaction=False)
            ids = []
            for k, raw in enumerate(items, 1):
                m = json.loads(raw)
                v = T[m["task"]](*m["args"], **m["kwargs"])
                ids.append(f"{me}.{tag}:{k}")
                if v is not None:
                    key = "res:" + m["id"]
                    p.rpush(key, json.dumps(v))
                    p.expire(key, 600)
            p.hdel("inflight", *ids)
        tag += 1
        p.evalsha(sha, 2, "q", "inflight", batch, f"{me}.{tag}")
        items = p.execute()[-1]


if __name__ == "__main__":
    work()
