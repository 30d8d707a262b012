-- Park or bury a held message. id, shelf (3 or 4), reason, task ('': as before)
UPDATE umbel_message
SET shelf = %(shelf)s, token = NULL, lease_until = NULL, holder = NULL, reason = %(reason)s, since = %(now)s,
    task = CASE %(task)s WHEN '' THEN task ELSE %(task)s END
WHERE id = %(id)s
