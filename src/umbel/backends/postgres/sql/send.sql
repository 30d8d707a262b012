-- Store messages, but for those whose key is remembered, and tell who waits for them.
-- queues, priorities, bases (of the turns), delays, task_ids, tasks, frames, keys (NULL: none), windows, afters (unused):
-- one array each.
-- They are told even where something waits already: that may be taken before this commits, and then nobody would look again.
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), wanted AS (
    SELECT * FROM unnest(
        %(queues)s::text[], %(priorities)s::int[], %(bases)s::bigint[], %(delays)s::bigint[], %(task_ids)s::text[],
        %(tasks)s::text[], %(frames)s::bytea[], %(keys)s::text[], %(windows)s::bigint[], %(afters)s::bigint[]
    ) WITH ORDINALITY AS w (queue, priority, base, delay, task_id, task, frame, key, "window", after, place)
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
)
SELECT count(pg_notify('umbel', 'm' || queue)) FROM (SELECT DISTINCT queue FROM sent) AS filled
