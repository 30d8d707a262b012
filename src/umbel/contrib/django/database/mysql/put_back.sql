-- These wait (again), where they were. ids
UPDATE umbel_message
JOIN JSON_TABLE(%(ids)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.id = listed.value
SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL
