-- End the leases of one holder. holder
UPDATE umbel_message SET lease_until = 0 WHERE shelf = 2 AND holder = %(holder)s
