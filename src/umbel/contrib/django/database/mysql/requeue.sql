-- Put parked or dead messages back with a clean count. ids, shelf
UPDATE umbel_message
JOIN JSON_TABLE(%(ids)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.id = listed.value
SET shelf = 0, deliveries = 0, reason = '', since = NOW_MS, turn = NOW_MS - priority * 36028797018963968
WHERE shelf = %(shelf)s
