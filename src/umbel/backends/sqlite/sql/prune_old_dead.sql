-- Delete the dead letters of the queue ?1 from before ?2 (wall ms), the oldest first, at most ?3 of them.
DELETE FROM messages
WHERE id IN (SELECT id FROM messages WHERE shelf = 4 AND queue = ?1 AND since < ?2 ORDER BY since LIMIT ?3)
