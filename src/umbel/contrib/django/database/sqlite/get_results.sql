-- Records that have not expired. task_ids. Row: task id, number of the write, payload
SELECT task_id, id, payload FROM umbel_result
WHERE task_id IN (SELECT value FROM json_each(%(task_ids)s)) AND (expires_at IS NULL OR expires_at > %(now)s)
