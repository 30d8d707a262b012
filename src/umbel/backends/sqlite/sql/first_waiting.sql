-- The first messages of one queue, in order of service. ?1 queue, ?2 limit, ?3 now
-- Row: priority, rank, id, queue, deliveries, revoked (0/1), frame
SELECT priority, rank, id, queue, deliveries,
       EXISTS (SELECT 1 FROM revoked WHERE revoked.task_id = messages.task_id AND until > ?3), frame
FROM messages WHERE shelf = 0 AND queue = ?1 ORDER BY priority DESC, rank, id LIMIT ?2
