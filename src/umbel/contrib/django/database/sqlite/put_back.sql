-- These wait (again), where they were. ids
UPDATE umbel_message SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL
WHERE id IN (SELECT value FROM json_each(%(ids)s))
