-- Is there anything to do? Read-only, so that idle workers never take the write lock.
-- queues. Row: something waits, time until the earliest is due, until the earliest lease ends (NULL: none)
SELECT EXISTS (SELECT 1 FROM umbel_message WHERE shelf = 0 AND queue IN (SELECT value FROM json_each(%(queues)s))),
       (SELECT due - %(now)s FROM umbel_message WHERE shelf = 1 ORDER BY due LIMIT 1),
       (SELECT lease_until - %(steady)s FROM umbel_message WHERE shelf = 2 ORDER BY lease_until LIMIT 1)
