-- The nodes that live, most recently heard first. ?1 steady now. Row: heard, info
SELECT heard, info FROM nodes WHERE silent_until > ?1 ORDER BY heard DESC
