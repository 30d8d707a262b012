-- What became due, or was held under a lease that ended, waits from now on; tell who waits for it. limit
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), due AS MATERIALIZED (
    SELECT id FROM umbel_message WHERE shelf = 1 AND due <= (SELECT now FROM clock)
    ORDER BY due LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), lapsed AS MATERIALIZED (
    SELECT id FROM umbel_message WHERE shelf = 2 AND lease_until <= (SELECT now FROM clock)
    ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), back AS (
    UPDATE umbel_message SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL
    WHERE id IN (SELECT id FROM due UNION ALL SELECT id FROM lapsed)
    RETURNING queue
)
SELECT count(pg_notify('umbel', 'm' || queue)) FROM (SELECT DISTINCT queue FROM back) AS filled
