-- Forget a join.
--
-- parameters  id

DELETE FROM joins WHERE id = ?1
