-- A node has left. ?1 id
DELETE FROM nodes WHERE id = ?1
