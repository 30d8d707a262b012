-- Forget old signals. age
DELETE FROM umbel_signal WHERE sent_at <= NOW_MS - %(age)s
