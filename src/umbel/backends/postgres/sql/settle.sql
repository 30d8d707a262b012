-- End deliveries: all of a batch, what follows from them, and their records, in one statement.
-- Deliveries that are over (gone_ids, gone_tokens), given back (back_ids, back_tokens, back_taken: deliveries to take
-- back), and parked or buried (aside_ids, aside_tokens, aside_shelves, aside_reasons, aside_tasks: '' as before). No
-- delivery twice.
-- Messages as in `send`, those who wait are told as there; each is stored if the delivery of the row named in afters was live.
-- Records (result_ids, no id twice, result_states, result_ttls, result_payloads, result_afters), in the same way.
-- Row: id, token of a delivery that was live
-- The constants are those of a turn: a step of priority, and the way to the front.
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), gone AS (
    DELETE FROM umbel_message AS message
    USING unnest(%(gone_ids)s::bigint[], %(gone_tokens)s::bigint[]) AS g (id, token)
    WHERE message.id = g.id AND message.token = g.token
    RETURNING g.id, g.token
), back AS (
    UPDATE umbel_message AS message
    SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL, deliveries = deliveries - b.taken,
        turn = CASE WHEN turn + priority * 36028797018963968 < 0 THEN turn ELSE turn - 4503599627370496 END
    FROM unnest(%(back_ids)s::bigint[], %(back_tokens)s::bigint[], %(back_taken)s::int[]) AS b (id, token, taken)
    WHERE message.id = b.id AND message.token = b.token
    RETURNING b.id, b.token, message.queue
), aside AS (
    UPDATE umbel_message AS message
    SET shelf = a.shelf, token = NULL, lease_until = NULL, holder = NULL, reason = a.reason, since = clock.now,
        task = CASE a.task WHEN '' THEN message.task ELSE a.task END
    FROM unnest(
        %(aside_ids)s::bigint[], %(aside_tokens)s::bigint[], %(aside_shelves)s::int[], %(aside_reasons)s::text[],
        %(aside_tasks)s::text[]
    ) AS a (id, token, shelf, reason, task), clock
    WHERE message.id = a.id AND message.token = a.token
    RETURNING a.id, a.token
), live AS (
    SELECT id, token FROM gone UNION ALL SELECT id, token FROM back UNION ALL SELECT id, token FROM aside
), wanted AS (
    SELECT w.* FROM unnest(
        %(queues)s::text[], %(priorities)s::int[], %(bases)s::bigint[], %(delays)s::bigint[], %(task_ids)s::text[],
        %(tasks)s::text[], %(frames)s::bytea[], %(keys)s::text[], %(windows)s::bigint[], %(afters)s::bigint[]
    ) WITH ORDINALITY AS w (queue, priority, base, delay, task_id, task, frame, key, "window", after, place)
    WHERE w.after IN (SELECT id FROM live)
), first AS (
    SELECT DISTINCT ON (key) key, "window", place FROM wanted WHERE key IS NOT NULL ORDER BY key, place
), remembered AS (
    INSERT INTO umbel_dedupe (key, until)
    SELECT key, now + "window" FROM first, clock ORDER BY key
    ON CONFLICT (key) DO UPDATE SET until = excluded.until
    WHERE umbel_dedupe.until <= (SELECT now FROM clock)
    RETURNING key
), sent AS (
    INSERT INTO umbel_message
        (queue, shelf, priority, turn, due, since, task_id, task, deliveries, reason, frame)
    SELECT queue, CASE WHEN delay > 0 THEN 1 ELSE 0 END, priority, base + now + delay, now + delay, now, task_id, task, 0, '',
           frame
    FROM wanted, clock
    WHERE key IS NULL
       OR (place IN (SELECT place FROM first) AND key IN (SELECT key FROM remembered))
    ORDER BY place
    RETURNING queue
), recorded AS (
    INSERT INTO umbel_result (task_id, state, stored_at, expires_at, payload)
    SELECT r.task_id, r.state, now, now + r.ttl, r.payload
    FROM unnest(
        %(result_ids)s::text[], %(result_states)s::text[], %(result_ttls)s::bigint[], %(result_payloads)s::bytea[],
        %(result_afters)s::bigint[]
    ) AS r (task_id, state, ttl, payload, after), clock
    WHERE r.after IN (SELECT id FROM live)
    ON CONFLICT (task_id) DO UPDATE
    SET id = excluded.id, state = excluded.state, stored_at = excluded.stored_at, expires_at = excluded.expires_at,
        payload = excluded.payload
    WHERE umbel_result.state <> 'SUCCESS' OR umbel_result.expires_at <= excluded.stored_at
    RETURNING task_id
), told AS MATERIALIZED (
    SELECT count(pg_notify('umbel', 'm' || queue)) FROM (SELECT queue FROM sent UNION SELECT queue FROM back) AS filled
    UNION ALL
    SELECT count(pg_notify('umbel', CASE WHEN octet_length(ids) < 7900 THEN 'r' || ids ELSE 'r' END))
    FROM (
        SELECT string_agg(task_id, E'\n') AS ids
        FROM (SELECT task_id, (row_number() OVER () - 1) / 100 AS part FROM recorded) AS numbered GROUP BY part
    ) AS parts
)
SELECT live.id, live.token FROM live, (SELECT sum(count) FROM told) AS telling
