-- The latest records that have not expired. limit. Row: task id, payload
SELECT task_id, payload FROM umbel_result WHERE expires_at IS NULL OR expires_at > %(now)s ORDER BY id DESC LIMIT %(limit)s
