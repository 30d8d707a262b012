-- Delete a record. ?1 task id
DELETE FROM results WHERE task_id = ?1
