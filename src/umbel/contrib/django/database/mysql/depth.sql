-- Counts by queue and shelf; what is due, or was held for too long, waits. Several rows may be of one queue and shelf.
-- queues. Row: queue, shelf, count
SELECT queue, umbel_message.shelf, count(*)
FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
CROSS JOIN (SELECT 0 AS shelf UNION ALL SELECT 3 UNION ALL SELECT 4) AS shelves
STRAIGHT_JOIN umbel_message ON umbel_message.shelf = shelves.shelf AND queue = listed.value
GROUP BY queue, umbel_message.shelf
UNION ALL
SELECT queue, IF(due > NOW_MS, 1, 0) AS seen, count(*)
FROM umbel_message FORCE INDEX (umbel_message_due)
WHERE shelf = 1 AND queue IN (
    SELECT value FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
)
GROUP BY queue, seen
UNION ALL
SELECT queue, IF(lease_until > NOW_MS, 2, 0) AS seen, count(*)
FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
STRAIGHT_JOIN umbel_message ON shelf = 2 AND queue = listed.value
GROUP BY queue, seen
