-- Let leases end later (or sooner). ids, lease
UPDATE umbel_message SET lease_until = %(steady)s + %(lease)s WHERE id IN (SELECT value FROM json_each(%(ids)s))
