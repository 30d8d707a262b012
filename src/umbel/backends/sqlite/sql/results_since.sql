-- Which records were written after one. ?1 seq. Row: seq, task id
SELECT seq, task_id FROM results WHERE seq > ?1 ORDER BY seq
