-- Forget old signals. age
DELETE FROM umbel_signal WHERE sent_at <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint - %(age)s
