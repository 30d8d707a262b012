-- Undo deliveries whose answer was lost: nobody has seen them. tokens
UPDATE umbel_message
JOIN JSON_TABLE(%(tokens)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.token = listed.value
SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL, deliveries = deliveries - 1
WHERE shelf = 2
