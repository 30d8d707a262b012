-- Is there anything to do? queues. Row: something waits, time until the earliest is due, until the earliest lease ends
-- STRAIGHT_JOIN, here and elsewhere: one look into the index for each name, and never all that waits.
SELECT EXISTS (
           SELECT 1 FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
           STRAIGHT_JOIN umbel_message ON shelf = 0 AND queue = listed.value
       ),
       (SELECT due - NOW_MS FROM umbel_message WHERE shelf = 1 ORDER BY due LIMIT 1),
       (SELECT lease_until - NOW_MS FROM umbel_message WHERE lease_until IS NOT NULL ORDER BY lease_until LIMIT 1)
