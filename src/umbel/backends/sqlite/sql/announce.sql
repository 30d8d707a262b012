-- A node lives. ?1 id, ?2 steady now, ?3 silent_until, ?4 info
INSERT INTO nodes (id, heard, silent_until, info) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (id) DO UPDATE SET heard = excluded.heard, silent_until = excluded.silent_until, info = excluded.info
