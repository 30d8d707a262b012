-- Tell every subscriber. signal
WITH published AS (
    INSERT INTO umbel_signal (sent_at, signal)
    VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, %(signal)s)
    RETURNING id
)
SELECT pg_notify('umbel', 's') FROM published
