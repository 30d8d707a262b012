-- Delete records that outlived their time. limit
DELETE FROM umbel_result WHERE expires_at <= NOW_MS ORDER BY expires_at LIMIT %(limit)s
