-- Forget keys whose window closed. limit
DELETE FROM umbel_dedupe WHERE key = ANY (ARRAY(
    SELECT key FROM umbel_dedupe WHERE until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    ORDER BY until LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
