-- Is there anything to do? Read-only, so that idle workers never take the write lock.
-- ?1 queues (JSON). Row: something waits (0/1), earliest due, earliest end of a lease (NULL: none)
SELECT EXISTS (SELECT 1 FROM messages WHERE shelf = 0 AND queue IN (SELECT value FROM json_each(?1))),
       (SELECT due FROM messages WHERE shelf = 1 ORDER BY due LIMIT 1),
       (SELECT lease_until FROM messages WHERE shelf = 2 ORDER BY lease_until LIMIT 1)
