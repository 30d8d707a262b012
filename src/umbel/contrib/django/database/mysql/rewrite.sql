-- Replace the frame of a dead letter. id, task_id, task, frame, priority, base (of the turn)
UPDATE umbel_message
SET task_id = %(task_id)s, task = %(task)s, frame = %(frame)s, priority = %(priority)s, turn = %(base)s + due
WHERE id = %(id)s AND shelf = 4
