-- Delete what waits. queues
DELETE FROM umbel_message WHERE shelf = 0 AND queue = ANY (%(queues)s::text[])
