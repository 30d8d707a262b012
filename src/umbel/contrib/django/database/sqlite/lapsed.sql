-- What is held under a lease that ended. limit. Row: id
SELECT id FROM umbel_message WHERE shelf = 2 AND lease_until <= %(steady)s ORDER BY lease_until LIMIT %(limit)s
