-- Put parked messages of tasks that are known now back. tasks
UPDATE umbel_message
SET shelf = 0, deliveries = 0, reason = '', since = %(now)s, turn = %(now)s - priority * 36028797018963968
WHERE shelf = 3 AND task IN (SELECT value FROM json_each(%(tasks)s))
