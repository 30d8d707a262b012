-- Records that have not expired. task_ids. Row: task id, number of the write, payload
SELECT task_id, id, payload FROM umbel_result
WHERE task_id = ANY (%(task_ids)s::text[])
  AND (expires_at IS NULL OR expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
