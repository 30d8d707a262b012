-- Replace the frame of a dead letter. ?1 id, ?2 task id, ?3 task, ?4 frame, ?5 priority
UPDATE messages SET task_id = ?2, task = ?3, frame = ?4, priority = ?5 WHERE id = ?1 AND shelf = 4
