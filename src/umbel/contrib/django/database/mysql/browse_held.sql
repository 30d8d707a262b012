-- What is held, in the order in which the leases end. queues, every (true: all queues), limit
-- Row: queue, task id, task, id, reason, since, time until due, time until the lease ends, deliveries, frame
SELECT queue, task_id, task, id, reason, since, due - NOW_MS, lease_until - NOW_MS, deliveries, frame
FROM umbel_message
WHERE shelf = 2 AND (%(every)s OR queue IN (
    SELECT value FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
))
ORDER BY lease_until, id LIMIT %(limit)s
