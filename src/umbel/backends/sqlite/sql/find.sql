-- Where the message of a call is. ?1 task id. Row: shelf, queue, reason, frame
SELECT shelf, queue, reason, frame FROM messages WHERE shelf IN (1, 3, 4) AND task_id = ?1
UNION ALL
SELECT 2, queue, '', frame FROM messages WHERE shelf = 2 AND task_id = ?1
UNION ALL
SELECT 0, queue, '', frame FROM messages INDEXED BY messages_waiting WHERE shelf = 0 AND task_id = ?1
LIMIT 1
