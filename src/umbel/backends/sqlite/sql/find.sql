-- Where the message of a call is. ?1 task id. Row: shelf, queue, reason
SELECT shelf, queue, reason FROM messages WHERE task_id = ?1 ORDER BY id DESC LIMIT 1
