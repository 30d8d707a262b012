-- Ids of calls that must not run.
SELECT task_id FROM umbel_revoked WHERE until > NOW_MS ORDER BY until DESC LIMIT 10000
