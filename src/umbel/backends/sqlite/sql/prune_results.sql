-- Delete records that outlived their time. ?1 now, ?2 at most so many
DELETE FROM results WHERE seq IN (
    SELECT seq FROM results WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2
)
