-- Where the message of a call is. task_id. Row: shelf, queue, reason, frame
SELECT shelf, queue, reason, frame FROM umbel_message WHERE task_id = %(task_id)s LIMIT 1
