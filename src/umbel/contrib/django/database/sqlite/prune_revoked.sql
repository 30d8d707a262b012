-- Forget revocations whose window closed. limit
DELETE FROM umbel_revoked WHERE task_id IN (
    SELECT task_id FROM umbel_revoked WHERE until <= %(now)s ORDER BY until LIMIT %(limit)s
)
