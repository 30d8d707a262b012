-- Store one message.
-- ?1 queue, ?2 shelf (0 or 1), ?3 priority, ?4 rank, ?5 due, ?6 now, ?7 task id, ?8 task, ?9 frame
INSERT INTO messages (queue, shelf, priority, rank, due, since, task_id, task, frame)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
