-- Delete the oldest ?2 dead letters of the queue ?1.
DELETE FROM messages
WHERE id IN (SELECT id FROM messages WHERE shelf = 4 AND queue = ?1 ORDER BY since, id LIMIT ?2)
