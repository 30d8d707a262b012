-- Joins whose time is over.
--
-- parameters  now, how many at most
-- rows        id

SELECT id FROM joins WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2
