-- Forget revocations whose window closed. ?1 now, ?2 at most so many
DELETE FROM revoked WHERE task_id IN (SELECT task_id FROM revoked WHERE until <= ?1 ORDER BY until LIMIT ?2)
