-- Store a record, unless a success that has not expired is there.
-- ?1 task id, ?2 state, ?3 now, ?4 expires_at (NULL: never), ?5 payload
INSERT OR REPLACE INTO results (task_id, state, stored_at, expires_at, payload)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (
    SELECT 1 FROM results
    WHERE task_id = ?1 AND state = 'SUCCESS' AND (expires_at IS NULL OR expires_at > ?3)
)
