-- The number of the latest write of each of some records. task_ids. Row: number, task id
SELECT id, task_id
FROM JSON_TABLE(%(task_ids)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
STRAIGHT_JOIN umbel_result ON umbel_result.task_id = listed.value
