-- Counts by queue and shelf; what is due, or was held for too long, waits. Several rows may be of one queue and shelf.
-- queues. Row: queue, shelf, count
SELECT queue, IF((shelf = 1 AND due <= NOW_MS) OR (shelf = 2 AND lease_until <= NOW_MS), 0, shelf) AS seen, count(*)
FROM umbel_message WHERE queue IN (
    SELECT value FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
) GROUP BY queue, seen
