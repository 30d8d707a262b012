-- Fill the slot of a call that has none. join, task_id, place, failed, part. Changes one row if it was empty
INSERT INTO umbel_join_part (join_id, task_id, place, failed, part) VALUES (%(join)s, %(task_id)s, %(place)s, %(failed)s, %(part)s)
ON CONFLICT (join_id, task_id) DO NOTHING
