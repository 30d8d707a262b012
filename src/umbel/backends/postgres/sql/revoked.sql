-- Ids of calls that must not run.
SELECT task_id FROM umbel_revoked WHERE until > (extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY until DESC LIMIT 10000
