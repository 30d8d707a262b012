-- The first messages of one queue, in order of service, locked. queue, limit
-- Row: turn, id, queue, deliveries, revoked (0/1), frame
SELECT turn, id, queue, deliveries,
       EXISTS (SELECT 1 FROM umbel_revoked WHERE umbel_revoked.task_id = umbel_message.task_id AND until > NOW_MS), frame
FROM umbel_message WHERE shelf = 0 AND queue = %(queue)s ORDER BY turn, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
