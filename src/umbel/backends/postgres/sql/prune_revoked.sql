-- Forget revocations whose window closed. limit
DELETE FROM umbel_revoked WHERE task_id = ANY (ARRAY(
    SELECT task_id FROM umbel_revoked WHERE until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    ORDER BY until LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
