-- The server's clock: milliseconds since 1970.
SELECT NOW_MS
