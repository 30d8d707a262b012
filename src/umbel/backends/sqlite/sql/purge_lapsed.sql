-- Delete what was held under a lease that ended: it would wait if anybody had looked. ?1 queues (JSON), ?2 steady now
DELETE FROM messages WHERE shelf = 2 AND lease_until <= ?2 AND queue IN (SELECT value FROM json_each(?1))
