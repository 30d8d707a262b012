-- Delete messages. ids
DELETE FROM umbel_message WHERE id IN (SELECT value FROM json_each(%(ids)s))
