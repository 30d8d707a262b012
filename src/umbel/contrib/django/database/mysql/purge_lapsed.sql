-- Delete what was held under a lease that ended: it would wait if anybody had looked. queues
DELETE umbel_message FROM umbel_message
JOIN JSON_TABLE(%(queues)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
ON umbel_message.queue = listed.value
WHERE lease_until <= NOW_MS
