-- Delete the oldest dead letters of the queue ?1, all but the ?2 newest, at most ?3 of them.
DELETE FROM messages
WHERE id IN (
    SELECT id FROM messages WHERE shelf = 4 AND queue = ?1 ORDER BY since, id
    LIMIT max(0, min(?3, (SELECT count(*) FROM messages WHERE shelf = 4 AND queue = ?1) - ?2))
)
