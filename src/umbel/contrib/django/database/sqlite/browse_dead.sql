-- The dead letters, in order of arrival. queues, every, limit. Row as browse_waiting
SELECT queue, task_id, task, id, reason, since, due - %(now)s, lease_until - %(steady)s, deliveries, frame
FROM umbel_message WHERE id IN (
    SELECT id FROM umbel_message
    WHERE shelf = 4 AND (%(every)s OR queue IN (SELECT value FROM json_each(%(queues)s)))
    ORDER BY since, id LIMIT %(limit)s
)
ORDER BY since, id
