-- The records of some calls. ?1 task ids (JSON), ?2 now. Row: task id, payload
SELECT task_id, payload FROM results
WHERE task_id IN (SELECT value FROM json_each(?1)) AND (expires_at IS NULL OR expires_at > ?2)
