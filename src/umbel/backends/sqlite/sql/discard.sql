-- Delete a parked or dead message. ?1 id, ?2 shelf. One row if it was there
DELETE FROM messages WHERE id = ?1 AND shelf = ?2 RETURNING 1
