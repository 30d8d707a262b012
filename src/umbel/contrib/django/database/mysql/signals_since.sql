-- Signals after one. last. Row: id, signal
SELECT id, `signal` FROM umbel_signal WHERE id > %(last)s ORDER BY id
