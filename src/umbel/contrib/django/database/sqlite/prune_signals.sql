-- Forget old signals. age
DELETE FROM umbel_signal WHERE sent_at <= %(now)s - %(age)s
