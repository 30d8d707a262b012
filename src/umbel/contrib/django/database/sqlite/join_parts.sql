-- What has arrived at a join, in order. join. Rows: part
SELECT part FROM umbel_join_part WHERE join_id = %(join)s ORDER BY place, id
