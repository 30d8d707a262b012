-- Forget revocations whose window closed. limit
DELETE FROM umbel_revoked WHERE until <= NOW_MS ORDER BY until LIMIT %(limit)s
