-- Counts by queue and shelf; what is due, or was held for too long, waits. Several rows may be of one queue and shelf.
-- ?1 queues (JSON), ?2 now, ?3 steady now
SELECT queue, 0, count(*) FROM messages WHERE shelf = 0 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
UNION ALL
SELECT queue, 1, count(*) FROM messages
WHERE shelf = 1 AND due > ?2 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
UNION ALL
SELECT queue, 0, count(*) FROM messages
WHERE shelf = 1 AND due <= ?2 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
UNION ALL
SELECT queue, 2, count(*) FROM messages
WHERE shelf = 2 AND lease_until > ?3 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
UNION ALL
SELECT queue, 0, count(*) FROM messages
WHERE shelf = 2 AND lease_until <= ?3 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
UNION ALL
SELECT queue, 3, count(*) FROM messages WHERE shelf = 3 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
UNION ALL
SELECT queue, 4, count(*) FROM messages WHERE shelf = 4 AND queue IN (SELECT value FROM json_each(?1)) GROUP BY queue
