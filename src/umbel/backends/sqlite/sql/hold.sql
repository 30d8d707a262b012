-- Lease one waiting message.
-- ?1 id, ?2 token, ?3 lease_until, ?4 holder, ?5 now. Row: id, queue, deliveries, revoked (0/1), frame
UPDATE messages SET shelf = 2, token = ?2, lease_until = ?3, holder = ?4, since = ?5, deliveries = deliveries + 1
WHERE id = ?1
RETURNING id, queue, deliveries,
          EXISTS (SELECT 1 FROM revoked WHERE revoked.task_id = messages.task_id AND until > ?5), frame
