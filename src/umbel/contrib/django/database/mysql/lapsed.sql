-- What is held under a lease that ended, locked. limit. Row: id
SELECT id FROM umbel_message WHERE lease_until <= NOW_MS ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
