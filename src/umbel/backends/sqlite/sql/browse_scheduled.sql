-- What is scheduled, the earliest due first.
-- ?1 queues (JSON; NULL: all), ?2 limit. The inner query reads the index alone: frames may be long.
SELECT queue, task_id, task, id, reason, since, due, lease_until, deliveries, frame
FROM messages WHERE id IN (
    SELECT id FROM messages
    WHERE shelf = 1 AND (?1 IS NULL OR queue IN (SELECT value FROM json_each(?1)))
    ORDER BY due, id LIMIT ?2
)
ORDER BY due, id
