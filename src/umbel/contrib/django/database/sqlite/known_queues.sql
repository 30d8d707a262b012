-- Those of some queues whose names are remembered. queues
SELECT name FROM umbel_queue WHERE name IN (SELECT value FROM json_each(%(queues)s))
