-- The records of some calls. task_ids. Row: task id, whether it is a success that stays (0/1)
SELECT task_id, state = 'SUCCESS' AND (expires_at IS NULL OR expires_at > %(now)s) FROM umbel_result
WHERE task_id IN (SELECT value FROM json_each(%(task_ids)s))
