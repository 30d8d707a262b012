-- Queues with more than ?1 dead letters, and how many there are too many.
SELECT queue, count(*) - ?1 FROM messages WHERE shelf = 4 GROUP BY queue HAVING count(*) > ?1
