-- Count those that have arrived at a join.
--
-- parameters  id, how many more
-- rows        1 if all have arrived

UPDATE joins SET filled = filled + ?2 WHERE id = ?1 RETURNING filled >= size
