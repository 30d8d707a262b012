-- What is held under a lease that ended waits again, where it was. ?1 steady now, ?2 at most so many
UPDATE messages SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL
WHERE id IN (SELECT id FROM messages WHERE shelf = 2 AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2)
