-- Put parked or dead messages back with a clean count, and tell who waits for them. ids, shelf. A row for each
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), back AS (
    UPDATE umbel_message
    SET shelf = 0, deliveries = 0, reason = '', since = now, turn = now - priority * 36028797018963968
    FROM clock
    WHERE shelf = %(shelf)s AND id = ANY (%(ids)s::bigint[])
    RETURNING queue
), told AS MATERIALIZED (
    SELECT pg_notify('umbel', 'm' || queue) FROM (SELECT DISTINCT queue FROM back) AS queues
)
SELECT back.queue FROM back, (SELECT count(*) FROM told) AS telling
