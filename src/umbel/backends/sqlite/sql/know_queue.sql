-- Remember a queue's name. ?1 name
INSERT OR IGNORE INTO queues (name) VALUES (?1)
