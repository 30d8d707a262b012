-- A number that every later write exceeds.
SELECT coalesce(max(id), 0) FROM umbel_result
