-- Remember that a call must not run. task_id, window
INSERT INTO umbel_revoked (task_id, until)
VALUES (%(task_id)s, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + %(window)s)
ON CONFLICT (task_id) DO UPDATE SET until = greatest(umbel_revoked.until, excluded.until)
