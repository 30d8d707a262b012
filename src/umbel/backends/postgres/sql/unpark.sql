-- Put parked messages of tasks that are known now back, and tell who waits for them. tasks. A row for each
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), back AS (
    UPDATE umbel_message
    SET shelf = 0, deliveries = 0, reason = '', since = now, turn = now - priority * 36028797018963968
    FROM clock
    WHERE shelf = 3 AND task = ANY (%(tasks)s::text[])
    RETURNING queue
), told AS MATERIALIZED (
    SELECT pg_notify('umbel', 'm' || queue) FROM (SELECT DISTINCT queue FROM back) AS queues
)
SELECT back.queue FROM back, (SELECT count(*) FROM told) AS telling
