-- Forget dedupe keys whose window closed. ?1 now, ?2 at most so many
DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE until <= ?1 ORDER BY until LIMIT ?2)
