-- Delete what was held under a lease that ended: it would wait if anybody had looked. queues
DELETE FROM umbel_message
WHERE shelf = 2 AND lease_until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint AND queue = ANY (%(queues)s::text[])
