-- What was scheduled and is due now. limit. Row: id
SELECT id FROM umbel_message WHERE shelf = 1 AND due <= %(now)s ORDER BY due LIMIT %(limit)s
