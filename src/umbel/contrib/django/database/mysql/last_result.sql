-- A number that no earlier write exceeds.
SELECT coalesce(max(id), 0) FROM umbel_result
