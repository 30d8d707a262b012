-- The number of the latest write of a record.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'results'), 0)
