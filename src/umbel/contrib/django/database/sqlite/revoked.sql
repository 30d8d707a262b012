-- Ids of calls that must not run.
SELECT task_id FROM umbel_revoked WHERE until > %(now)s ORDER BY until DESC LIMIT 10000
