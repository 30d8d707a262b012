-- Remember a dedupe key unless it is remembered already. One row: the message is the first.
-- ?1 key, ?2 until, ?3 now
INSERT INTO dedupe (key, until) VALUES (?1, ?2)
ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE until <= ?3
RETURNING 1
