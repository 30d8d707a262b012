-- Let an open join live on.
--
-- parameters  id, until when or NULL, now

UPDATE joins SET expires_at = ?2 WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?3)
