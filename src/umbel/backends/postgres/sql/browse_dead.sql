-- The dead letters, in order of arrival. queues, every (true: all queues), limit
-- Row: queue, task id, task, id, reason, since, time until due, time until the lease ends, deliveries, frame
SELECT queue, task_id, task, id, reason, since, due - now, lease_until - now, deliveries, frame
FROM umbel_message, (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
WHERE shelf = 4 AND (%(every)s OR queue = ANY (%(queues)s::text[]))
ORDER BY since, id LIMIT %(limit)s
