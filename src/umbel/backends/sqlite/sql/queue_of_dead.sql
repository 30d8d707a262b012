-- The queue of a dead letter. ?1 id
SELECT queue FROM messages WHERE id = ?1 AND shelf = 4
