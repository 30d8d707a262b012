-- Delete dead letters from before ?1 (wall ms), at most ?2 of them
DELETE FROM messages
WHERE id IN (SELECT id FROM messages WHERE shelf = 4 AND since < ?1 ORDER BY since LIMIT ?2)
