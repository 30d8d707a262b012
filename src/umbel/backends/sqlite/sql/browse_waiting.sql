-- What waits, in order of service.
-- ?1 queues (JSON; NULL: all), ?2 limit. The inner query reads the index alone: frames may be long.
SELECT queue, task_id, task, id, reason, since, due, lease_until, deliveries, frame
FROM messages WHERE id IN (
    SELECT id FROM messages
    WHERE shelf = 0 AND (?1 IS NULL OR queue IN (SELECT value FROM json_each(?1)))
    ORDER BY priority DESC, rank, id LIMIT ?2
)
ORDER BY priority DESC, rank, id
