-- A join if all have arrived. join. Rows: 1
SELECT 1 FROM umbel_join WHERE id = %(join)s AND filled >= size
