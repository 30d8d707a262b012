-- What waits, in order of service: by priority and turn, whatever the queue. queues, every (1: all queues), limit
-- Row: queue, task id, task, id, reason, since, time until due, time until the lease ends, deliveries, frame
SELECT queue, task_id, task, id, reason, since, due - %(now)s, lease_until - %(steady)s, deliveries, frame
FROM umbel_message WHERE id IN (
    SELECT id FROM umbel_message
    WHERE shelf = 0 AND (%(every)s OR queue IN (SELECT value FROM json_each(%(queues)s)))
    ORDER BY turn, id LIMIT %(limit)s
)
ORDER BY turn, id
