-- Store a record. task_id, state, ttl (NULL: for ever), payload
INSERT INTO umbel_result (task_id, state, stored_at, expires_at, payload)
VALUES (%(task_id)s, %(state)s, NOW_MS, NOW_MS + %(ttl)s, %(payload)s)
