-- Let an open join live on. join, ttl (NULL: for ever). Changes one row if it is open
UPDATE umbel_join SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + %(ttl)s::bigint WHERE id = %(join)s AND (expires_at IS NULL OR expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
