-- Park or bury a held message. id, shelf (3 or 4), reason, task ('': as before)
UPDATE umbel_message
SET shelf = %(shelf)s, token = NULL, lease_until = NULL, holder = NULL, reason = %(reason)s, since = NOW_MS,
    task = IF(%(task)s = '', task, %(task)s)
WHERE id = %(id)s
