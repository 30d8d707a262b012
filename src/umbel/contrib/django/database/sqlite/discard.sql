-- Delete parked or dead messages. ids, shelf
DELETE FROM umbel_message WHERE shelf = %(shelf)s AND id IN (SELECT value FROM json_each(%(ids)s))
