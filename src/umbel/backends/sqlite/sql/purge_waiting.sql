-- Delete what waits. ?1 queues (JSON)
DELETE FROM messages WHERE shelf = 0 AND queue IN (SELECT value FROM json_each(?1))
