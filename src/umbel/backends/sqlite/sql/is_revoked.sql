-- Those of some ids that must not run. 1: JSON array of ids, 2: now
SELECT task_id FROM revoked WHERE task_id IN (SELECT value FROM json_each(?1)) AND until > ?2
