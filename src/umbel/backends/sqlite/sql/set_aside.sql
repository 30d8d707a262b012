-- Park or bury a held message.
-- ?1 id, ?2 token, ?3 shelf (3 or 4), ?4 reason, ?5 now, ?6 name of the task or '' (as before). Changes one row, unless
-- the token is stale
UPDATE messages SET shelf = ?3, token = NULL, lease_until = NULL, holder = NULL, reason = ?4, since = ?5,
    task = CASE ?6 WHEN '' THEN task ELSE ?6 END
WHERE id = ?1 AND token = ?2
