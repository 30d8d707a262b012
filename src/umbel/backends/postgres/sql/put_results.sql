-- Store records, and tell who waits for them. A success that has not expired stays.
-- result_ids (no id twice), result_states, result_ttls, result_payloads, result_afters (unused): one array each
WITH recorded AS (
    INSERT INTO umbel_result (task_id, state, stored_at, expires_at, payload)
    SELECT r.task_id, r.state, now, now + r.ttl, r.payload
    FROM unnest(
        %(result_ids)s::text[], %(result_states)s::text[], %(result_ttls)s::bigint[], %(result_payloads)s::bytea[],
        %(result_afters)s::bigint[]
    ) AS r (task_id, state, ttl, payload, after),
    (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
    ON CONFLICT (task_id) DO UPDATE
    SET id = excluded.id, state = excluded.state, stored_at = excluded.stored_at, expires_at = excluded.expires_at,
        payload = excluded.payload
    WHERE umbel_result.state <> 'SUCCESS' OR umbel_result.expires_at <= excluded.stored_at
    RETURNING task_id
)
SELECT count(pg_notify('umbel', CASE WHEN octet_length(ids) < 7900 THEN 'r' || ids ELSE 'r' END))
FROM (
    SELECT string_agg(task_id, E'\n') AS ids
    FROM (SELECT task_id, (row_number() OVER () - 1) / 100 AS part FROM recorded) AS numbered GROUP BY part
) AS parts
