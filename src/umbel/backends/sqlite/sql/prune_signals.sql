-- Forget old signals. ?1 sent before
DELETE FROM signals WHERE at <= ?1
