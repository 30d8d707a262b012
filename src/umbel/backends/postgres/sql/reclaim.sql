-- End the leases of one holder, and tell those who wait that there may be something. holder. Changes the number of leases
WITH ended AS (
    UPDATE umbel_message SET lease_until = 0 WHERE shelf = 2 AND holder = %(holder)s RETURNING queue
), told AS MATERIALIZED (
    SELECT pg_notify('umbel', 'm' || queue) FROM (SELECT DISTINCT queue FROM ended) AS queues
)
SELECT ended.queue FROM ended, (SELECT count(*) FROM told) AS telling
