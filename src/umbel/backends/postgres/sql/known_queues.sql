-- Those of some queues whose names are remembered. queues
SELECT name FROM umbel_queue WHERE name = ANY (%(queues)s::text[])
