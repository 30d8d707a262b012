-- What was scheduled and is due now, locked. limit. Row: id
SELECT id FROM umbel_message WHERE shelf = 1 AND due <= NOW_MS ORDER BY due LIMIT %(limit)s FOR UPDATE SKIP LOCKED
