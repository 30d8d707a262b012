-- The payload of one write, unless a later one replaced it. ?1 seq
SELECT payload FROM results WHERE seq = ?1
