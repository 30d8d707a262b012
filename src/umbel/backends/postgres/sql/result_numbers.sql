-- The number of the latest write of each of some records. task_ids. Row: number, task id
SELECT id, task_id FROM umbel_result WHERE task_id = ANY (%(task_ids)s::text[])
