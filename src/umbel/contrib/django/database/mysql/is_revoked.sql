-- The id, when that call must not run. task_id
SELECT task_id FROM umbel_revoked WHERE task_id = %(task_id)s AND until > NOW_MS
