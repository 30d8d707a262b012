-- What is held, in the order in which the leases end. queues, every, limit. Row as browse_waiting
SELECT queue, task_id, task, id, reason, since, due - %(now)s, lease_until - %(steady)s, deliveries, frame
FROM umbel_message WHERE id IN (
    SELECT id FROM umbel_message
    WHERE shelf = 2 AND (%(every)s OR queue IN (SELECT value FROM json_each(%(queues)s)))
    ORDER BY lease_until, id LIMIT %(limit)s
)
ORDER BY lease_until, id
