-- Forget a join. join
DELETE FROM umbel_join WHERE id = %(join)s
