-- The id of the latest signal that ever was.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signals'), 0)
