-- Is there anything to do? queues. Row: something waits, time until the earliest is due, until the earliest lease ends
SELECT EXISTS (SELECT 1 FROM umbel_message WHERE shelf = 0 AND queue = ANY (%(queues)s::text[])),
       (SELECT due FROM umbel_message WHERE shelf = 1 ORDER BY due LIMIT 1)
           - (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       (SELECT lease_until FROM umbel_message WHERE shelf = 2 ORDER BY lease_until LIMIT 1)
           - (extract(epoch FROM clock_timestamp()) * 1000)::bigint
