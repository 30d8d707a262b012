-- The first messages of one queue in order of service; read from the index alone. ?1 queue, ?2 limit
SELECT priority, rank, id FROM messages WHERE shelf = 0 AND queue = ?1 ORDER BY priority DESC, rank, id LIMIT ?2
