-- Delete what waits. queues
DELETE FROM umbel_message WHERE shelf = 0 AND queue IN (SELECT value FROM json_each(%(queues)s))
