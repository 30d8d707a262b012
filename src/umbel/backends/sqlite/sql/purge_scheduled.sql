-- Delete what is scheduled. ?1 queues (JSON)
DELETE FROM messages WHERE shelf = 1 AND queue IN (SELECT value FROM json_each(?1))
