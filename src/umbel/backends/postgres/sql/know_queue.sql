-- Remember a queue's name. queue
INSERT INTO umbel_queue (name) VALUES (%(queue)s) ON CONFLICT (name) DO NOTHING
