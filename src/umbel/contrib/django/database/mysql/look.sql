-- Is there anything to do? queues. Row: something waits, time until the earliest is due, until the earliest lease ends
SELECT EXISTS (SELECT 1 FROM umbel_message WHERE shelf = 0 AND queue IN (
    SELECT value FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
)),
       (SELECT due - NOW_MS FROM umbel_message WHERE shelf = 1 ORDER BY due LIMIT 1),
       (SELECT lease_until - NOW_MS FROM umbel_message WHERE lease_until IS NOT NULL ORDER BY lease_until LIMIT 1)
