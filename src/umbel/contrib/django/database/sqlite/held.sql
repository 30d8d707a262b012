-- The tokens of messages, of those that are held. ids. Row: id, token
SELECT id, token FROM umbel_message WHERE token IS NOT NULL AND id IN (SELECT value FROM json_each(%(ids)s))
