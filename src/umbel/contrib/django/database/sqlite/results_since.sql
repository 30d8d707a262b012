-- Which records were written after one. last. Row: number of the write, task id
SELECT id, task_id FROM umbel_result WHERE id > %(last)s ORDER BY id
