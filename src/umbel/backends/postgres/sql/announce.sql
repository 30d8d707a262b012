-- A node lives. id, ttl, info
INSERT INTO umbel_node (id, heard, silent_until, info)
SELECT %(id)s, now, now + %(ttl)s, %(info)s
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
ON CONFLICT (id) DO UPDATE SET heard = excluded.heard, silent_until = excluded.silent_until, info = excluded.info
