-- Joins whose time is over. limit. Rows: id
SELECT id FROM umbel_join WHERE expires_at <= %(now)s LIMIT %(limit)s
