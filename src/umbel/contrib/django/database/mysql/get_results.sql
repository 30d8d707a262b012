-- Records that have not expired. task_ids. Row: task id, number of the write, payload
SELECT task_id, id, payload FROM umbel_result
JOIN JSON_TABLE(%(task_ids)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
ON umbel_result.task_id = listed.value
WHERE expires_at IS NULL OR expires_at > NOW_MS
