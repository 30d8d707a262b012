-- Delete what is scheduled. queues
DELETE FROM umbel_message WHERE shelf = 1 AND queue IN (SELECT value FROM json_each(%(queues)s))
