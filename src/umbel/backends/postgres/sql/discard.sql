-- Delete parked or dead messages. ids, shelf
DELETE FROM umbel_message WHERE shelf = %(shelf)s AND id = ANY (%(ids)s::bigint[])
