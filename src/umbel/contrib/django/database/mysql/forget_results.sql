-- Delete records. task_ids
DELETE umbel_result FROM umbel_result
JOIN JSON_TABLE(%(task_ids)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
ON umbel_result.task_id = listed.value
