-- Forget keys whose window closed. limit
DELETE FROM umbel_dedupe WHERE until <= NOW_MS ORDER BY until LIMIT %(limit)s
