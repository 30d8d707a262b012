-- Whether a call that has arrived at a join has failed.
--
-- parameters  id
-- rows        1, if so

SELECT 1 FROM join_parts WHERE join_id = ?1 AND failed = 1 LIMIT 1
