-- Delete records. task_ids
DELETE FROM umbel_result WHERE task_id = ANY (%(task_ids)s::text[])
