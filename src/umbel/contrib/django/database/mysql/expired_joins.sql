-- Joins whose time is over. limit. Rows: id
SELECT id FROM umbel_join WHERE expires_at <= NOW_MS LIMIT %(limit)s
