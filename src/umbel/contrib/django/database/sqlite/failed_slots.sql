-- Whether a call that has arrived at a join has failed. join, failed. Rows: 1, if so
SELECT 1 FROM umbel_join_part WHERE join_id = %(join)s AND failed = %(failed)s LIMIT 1
