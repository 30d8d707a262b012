-- Forget keys whose window closed. limit
DELETE FROM umbel_dedupe WHERE key IN (
    SELECT key FROM umbel_dedupe WHERE until <= %(now)s ORDER BY until LIMIT %(limit)s
)
