-- Count a call that has arrived. join
UPDATE umbel_join SET filled = filled + 1 WHERE id = %(join)s
