-- Put a success in the place of a failure.
--
-- parameters  join, task id, part

UPDATE join_parts SET failed = 0, part = ?3 WHERE join_id = ?1 AND task_id = ?2 AND failed = 1
