-- The tokens of messages, of those that are held, locked. ids. Row: id, token
SELECT id, token FROM umbel_message
JOIN JSON_TABLE(%(ids)s, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed
ON umbel_message.id = listed.value
WHERE token IS NOT NULL FOR UPDATE
