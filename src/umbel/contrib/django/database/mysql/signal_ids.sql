-- The signals that there are. Row: id
SELECT id FROM umbel_signal
