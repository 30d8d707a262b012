-- Lease messages. ids, token, lease, holder
UPDATE umbel_message
JOIN JSON_TABLE(%(ids)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.id = listed.value
SET shelf = 2, token = %(token)s, lease_until = NOW_MS + %(lease)s, holder = %(holder)s, since = NOW_MS,
    deliveries = deliveries + 1
