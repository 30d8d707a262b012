-- A number that no earlier signal exceeds.
SELECT coalesce(max(id), 0) FROM umbel_signal
