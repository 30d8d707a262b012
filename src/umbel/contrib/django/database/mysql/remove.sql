-- Delete messages. ids
DELETE umbel_message FROM umbel_message
JOIN JSON_TABLE(%(ids)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.id = listed.value
