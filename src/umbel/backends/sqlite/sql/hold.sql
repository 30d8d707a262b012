-- Lease waiting messages. ?1 ids (JSON), ?2 token, ?3 lease_until, ?4 holder, ?5 now
UPDATE messages SET shelf = 2, token = ?2, lease_until = ?3, holder = ?4, since = ?5, deliveries = deliveries + 1
WHERE id IN (SELECT value FROM json_each(?1))
