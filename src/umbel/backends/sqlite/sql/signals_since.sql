-- Signals after one. ?1 id. Row: id, signal
SELECT id, signal FROM signals WHERE id > ?1 ORDER BY id
