-- Give a held message back, before everything of its priority that waits.
-- ?1 id, ?2 token, ?3 deliveries to take back (0 or 1), ?4 front. Changes one row, unless the token is stale
UPDATE messages
SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL, deliveries = deliveries - ?3,
    rank = CASE WHEN rank < 0 THEN rank ELSE rank - ?4 END
WHERE id = ?1 AND token = ?2
