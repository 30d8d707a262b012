-- Where the message of a call is. task_id. Row: shelf, queue, reason
SELECT shelf, queue, reason FROM umbel_message WHERE task_id = %(task_id)s LIMIT 1
