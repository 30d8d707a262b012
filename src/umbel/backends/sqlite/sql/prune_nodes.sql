-- Forget silent nodes. ?1 steady now
DELETE FROM nodes WHERE silent_until <= ?1
