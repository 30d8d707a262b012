-- Let leases end later (or sooner). ids, lease
UPDATE umbel_message
JOIN JSON_TABLE(%(ids)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.id = listed.value
SET lease_until = NOW_MS + %(lease)s
