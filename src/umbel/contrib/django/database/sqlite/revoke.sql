-- Remember that a call must not run. task_id, window
INSERT INTO umbel_revoked (task_id, until) VALUES (%(task_id)s, %(now)s + %(window)s)
ON CONFLICT (task_id) DO UPDATE SET until = max(until, excluded.until)
