-- Put a success in the place of a failure. join, task_id, part, failed, succeeded
UPDATE umbel_join_part SET failed = %(succeeded)s, part = %(part)s
WHERE join_id = %(join)s AND task_id = %(task_id)s AND failed = %(failed)s
