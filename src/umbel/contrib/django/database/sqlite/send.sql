-- Store one message. queue, delay, priority, base (of the turn), task_id, task, frame
INSERT INTO umbel_message (queue, shelf, priority, turn, due, since, task_id, task, deliveries, reason, frame)
VALUES (%(queue)s, CASE WHEN %(delay)s > 0 THEN 1 ELSE 0 END, %(priority)s, %(base)s + %(now)s + %(delay)s,
        %(now)s + %(delay)s, %(now)s, %(task_id)s, %(task)s, 0, '', %(frame)s)
