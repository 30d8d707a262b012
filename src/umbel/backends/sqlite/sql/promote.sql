-- What was scheduled and is due now waits. ?1 now, ?2 at most so many
UPDATE messages SET shelf = 0
WHERE id IN (SELECT id FROM messages WHERE shelf = 1 AND due <= ?1 ORDER BY due LIMIT ?2)
