-- Let an open join live on. join, ttl (NULL: for ever). Changes one row if it is open
UPDATE umbel_join SET expires_at = NOW_MS + %(ttl)s WHERE id = %(join)s AND (expires_at IS NULL OR expires_at > NOW_MS)
