-- The tokens of messages, of those that are held. ids. Row: id, token
SELECT id, token FROM umbel_message WHERE token IS NOT NULL AND id = ANY (%(ids)s::bigint[])
