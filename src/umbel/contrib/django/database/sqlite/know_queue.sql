-- Remember a queue's name. queue
INSERT OR IGNORE INTO umbel_queue (name) VALUES (%(queue)s)
