-- Forget what has arrived at a join. join
DELETE FROM umbel_join_part WHERE join_id = %(join)s
