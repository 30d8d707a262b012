-- Put parked or dead messages back with a clean count. ids, shelf
UPDATE umbel_message
SET shelf = 0, deliveries = 0, reason = '', since = %(now)s, turn = %(now)s - priority * 36028797018963968
WHERE shelf = %(shelf)s AND id IN (SELECT value FROM json_each(%(ids)s))
