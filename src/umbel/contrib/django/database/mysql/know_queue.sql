-- Remember a queue's name. queue
INSERT IGNORE INTO umbel_queue (name) VALUES (%(queue)s)
