-- Lease messages. ids, token, lease, holder
UPDATE umbel_message
SET shelf = 2, token = %(token)s, lease_until = %(steady)s + %(lease)s, holder = %(holder)s, since = %(now)s,
    deliveries = deliveries + 1
WHERE id IN (SELECT value FROM json_each(%(ids)s))
