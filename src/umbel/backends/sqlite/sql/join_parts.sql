-- What has arrived at a join, in order.
--
-- parameters  id
-- rows        part

SELECT part FROM join_parts WHERE join_id = ?1 ORDER BY place, seq
