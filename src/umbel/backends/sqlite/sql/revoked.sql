-- Ids of calls that must not run. 1: now
SELECT task_id FROM revoked WHERE until > ?1 ORDER BY until DESC LIMIT 10000
