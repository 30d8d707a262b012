-- Let an open join wait for more calls.
--
-- parameters  id, how many more

UPDATE joins SET size = size + ?2 WHERE id = ?1
