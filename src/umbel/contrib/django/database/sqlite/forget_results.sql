-- Delete records. task_ids
DELETE FROM umbel_result WHERE task_id IN (SELECT value FROM json_each(%(task_ids)s))
