-- Those of some queues whose names are remembered. queues
SELECT name FROM umbel_queue WHERE name IN (
    SELECT value FROM JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
)
