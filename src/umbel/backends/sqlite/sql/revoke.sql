-- Remember that a call must not run. ?1 task id, ?2 until
INSERT INTO revoked (task_id, until) VALUES (?1, ?2)
ON CONFLICT (task_id) DO UPDATE SET until = max(until, excluded.until)
