-- Counts by queue and shelf; what is due, or was held for too long, waits. Several rows may be of one queue and shelf.
-- queues. Row: queue, shelf, count
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
)
SELECT queue, 0, count(*) FROM umbel_message WHERE shelf = 0 AND queue = ANY (%(queues)s::text[]) GROUP BY queue
UNION ALL
SELECT queue, CASE WHEN due > now THEN 1 ELSE 0 END AS seen, count(*) FROM umbel_message, clock
WHERE shelf = 1 AND queue = ANY (%(queues)s::text[]) GROUP BY queue, seen
UNION ALL
SELECT queue, CASE WHEN lease_until > now THEN 2 ELSE 0 END AS seen, count(*) FROM umbel_message, clock
WHERE shelf = 2 AND queue = ANY (%(queues)s::text[]) GROUP BY queue, seen
UNION ALL
SELECT queue, 3, count(*) FROM umbel_message WHERE shelf = 3 AND queue = ANY (%(queues)s::text[]) GROUP BY queue
UNION ALL
SELECT queue, 4, count(*) FROM umbel_message WHERE shelf = 4 AND queue = ANY (%(queues)s::text[]) GROUP BY queue
