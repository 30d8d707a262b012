-- Let a lease end later (or sooner). ?1 id, ?2 token, ?3 lease_until. Changes one row, unless the token is stale
UPDATE messages SET lease_until = ?3 WHERE id = ?1 AND token = ?2
