-- A number that every later signal exceeds.
SELECT coalesce(max(id), 0) FROM umbel_signal
