-- Remember that a call must not run. task_id, window
INSERT INTO umbel_revoked (task_id, until) VALUES (%(task_id)s, NOW_MS + %(window)s)
ON DUPLICATE KEY UPDATE until = GREATEST(until, VALUES(until))
