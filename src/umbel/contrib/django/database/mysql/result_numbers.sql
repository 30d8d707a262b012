-- The number of the latest write of each of some records. task_ids. Row: number, task id
SELECT id, task_id FROM umbel_result
JOIN JSON_TABLE(%(task_ids)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
ON umbel_result.task_id = listed.value
