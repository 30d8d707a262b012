-- Delete what is scheduled. queues
DELETE FROM umbel_message WHERE shelf = 1 AND queue = ANY (%(queues)s::text[])
