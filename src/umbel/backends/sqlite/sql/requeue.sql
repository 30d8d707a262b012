-- Put a parked or dead message back with a clean count. ?1 id, ?2 shelf, ?3 now. One row if it was there
UPDATE messages SET shelf = 0, deliveries = 0, reason = '', rank = ?3, since = ?3
WHERE id = ?1 AND shelf = ?2
RETURNING 1
