-- Delete records that outlived their time. limit
DELETE FROM umbel_result WHERE id = ANY (ARRAY(
    SELECT id FROM umbel_result WHERE expires_at <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    ORDER BY expires_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
