-- The latest records. ?1 now, ?2 how many. Row: task id, payload
-- seq > 0, so that SQLite walks the key backwards and stops.
SELECT task_id, payload FROM results
WHERE seq > 0 AND (expires_at IS NULL OR expires_at > ?1) ORDER BY seq DESC LIMIT ?2
