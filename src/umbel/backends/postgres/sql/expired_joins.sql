-- Joins whose time is over. limit. Rows: id
SELECT id FROM umbel_join WHERE expires_at <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint LIMIT %(limit)s
