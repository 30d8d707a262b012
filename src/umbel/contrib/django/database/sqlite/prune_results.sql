-- Delete records that outlived their time. limit
DELETE FROM umbel_result WHERE id IN (
    SELECT id FROM umbel_result WHERE expires_at IS NOT NULL AND expires_at <= %(now)s ORDER BY expires_at LIMIT %(limit)s
)
