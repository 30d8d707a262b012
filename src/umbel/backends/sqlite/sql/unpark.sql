-- Put parked messages of tasks that are known now back. ?1 task names (JSON), ?2 now
UPDATE messages SET shelf = 0, deliveries = 0, reason = '', rank = ?2, since = ?2
WHERE shelf = 3 AND task IN (SELECT value FROM json_each(?1))
