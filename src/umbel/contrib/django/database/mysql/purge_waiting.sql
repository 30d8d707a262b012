-- Delete what waits. queues
DELETE umbel_message FROM umbel_message
JOIN JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
ON umbel_message.queue = listed.value
WHERE shelf = 0
