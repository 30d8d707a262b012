-- Forget what has arrived at a join.
--
-- parameters  id

DELETE FROM join_parts WHERE join_id = ?1
