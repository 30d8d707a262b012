-- Records that have not expired. task_ids. Row: task id, number of the write, payload
SELECT task_id, id, payload
FROM JSON_TABLE(%(task_ids)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
STRAIGHT_JOIN umbel_result ON umbel_result.task_id = listed.value
WHERE expires_at IS NULL OR expires_at > NOW_MS
