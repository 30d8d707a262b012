-- The records of some calls, locked. task_ids. Row: task id, whether it is a success that stays (0/1)
SELECT task_id, state = 'SUCCESS' AND (expires_at IS NULL OR expires_at > NOW_MS)
FROM JSON_TABLE(%(task_ids)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
STRAIGHT_JOIN umbel_result ON umbel_result.task_id = listed.value FOR UPDATE
