-- Fill the slot of a call: once, but a success may take the place of a failure.
--
-- parameters  join, task id, place, failed, part
-- rows        1 if the slot was empty

INSERT INTO join_parts (join_id, task_id, place, failed, part) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (join_id, task_id) DO NOTHING
RETURNING 1
