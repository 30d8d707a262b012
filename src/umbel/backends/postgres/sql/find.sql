-- Where the message of a call is. task_id. Row: shelf, queue, reason, frame
SELECT shelf, queue, reason, frame FROM umbel_message WHERE shelf IN (1, 3, 4) AND task_id = %(task_id)s
UNION ALL
SELECT shelf, queue, reason, frame FROM umbel_message WHERE shelf = 2 AND task_id = %(task_id)s
UNION ALL
SELECT shelf, queue, reason, frame FROM umbel_message WHERE shelf = 0 AND task_id = %(task_id)s
LIMIT 1
