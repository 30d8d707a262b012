-- The id, when that call must not run. task_id
SELECT task_id FROM umbel_revoked WHERE task_id = %(task_id)s AND until > (extract(epoch FROM clock_timestamp()) * 1000)::bigint
