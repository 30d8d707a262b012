-- Lease the first waiting messages of some queues, in one round trip. Where something is overdue, it does nothing and says
-- so: that may have to go first.
-- queues, limit, lease, holder, token, although_overdue
-- Rows (one at least): something waits, time until the earliest is due, until the earliest lease ends (NULL: none);
-- turn, id, queue, deliveries before this one, revoked, frame (NULL in the only row: nothing was leased)
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), look AS MATERIALIZED (
    SELECT EXISTS (
               SELECT 1 FROM umbel_message WHERE shelf = 0 AND queue = ANY (%(queues)s::text[])
           ) AS waits,
           (SELECT due FROM umbel_message WHERE shelf = 1 ORDER BY due LIMIT 1) - now AS due_in,
           (SELECT lease_until FROM umbel_message WHERE shelf = 2 ORDER BY lease_until LIMIT 1) - now AS ends_in
    FROM clock
), candidate AS MATERIALIZED (
    SELECT chosen.id
    FROM look
    CROSS JOIN (SELECT DISTINCT unnest(%(queues)s::text[]) AS queue) AS wanted
    CROSS JOIN LATERAL (
        SELECT id, turn FROM umbel_message
        WHERE shelf = 0 AND queue = wanted.queue
        ORDER BY turn, id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) AS chosen
    WHERE %(although_overdue)s OR (coalesce(look.due_in, 1) > 0 AND coalesce(look.ends_in, 1) > 0)
    ORDER BY chosen.turn, chosen.id
    LIMIT %(limit)s
), taken AS (
    UPDATE umbel_message AS message
    SET shelf = 2, token = %(token)s, lease_until = clock.now + %(lease)s, holder = %(holder)s, since = clock.now,
        deliveries = deliveries + 1
    FROM candidate, clock
    WHERE message.id = candidate.id
    RETURNING message.turn, message.id, message.queue, message.deliveries - 1 AS deliveries, message.task_id, message.frame
)
SELECT look.waits, look.due_in, look.ends_in, taken.turn, taken.id, taken.queue, taken.deliveries,
       EXISTS (SELECT 1 FROM umbel_revoked, clock WHERE umbel_revoked.task_id = taken.task_id AND until > clock.now),
       taken.frame
FROM look LEFT JOIN taken ON true
