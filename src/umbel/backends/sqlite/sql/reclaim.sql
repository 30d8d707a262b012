-- End the leases of one holder. ?1 holder
UPDATE messages SET lease_until = 0 WHERE shelf = 2 AND holder = ?1
