-- Store one message. queue, delay, priority, base (of the turn), task_id, task, frame
-- It begins and ends with a parameter: so the drivers see that they may send many rows at once.
INSERT INTO umbel_message (queue, shelf, priority, turn, due, since, task_id, task, deliveries, reason, frame)
VALUES (%(queue)s, IF(%(delay)s > 0, 1, 0), %(priority)s, %(base)s + NOW_MS + %(delay)s, NOW_MS + %(delay)s, NOW_MS,
        %(task_id)s, %(task)s, 0, '', %(frame)s)
