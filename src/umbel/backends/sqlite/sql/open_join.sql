-- Open a join. One that is open stays as it is.
--
-- parameters  id, size, when it expires or NULL

INSERT INTO joins (id, size, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING
