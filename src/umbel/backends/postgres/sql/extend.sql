-- Let leases end later (or sooner). ids, tokens, lease. Row: id, token of one that was live
UPDATE umbel_message AS message
SET lease_until = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + %(lease)s
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS e (id, token)
WHERE message.id = e.id AND message.token = e.token
RETURNING e.id, e.token
