-- Remember a key unless it is remembered. key, window. Changes one row: the message is the first
INSERT IGNORE INTO umbel_dedupe (`key`, until) VALUES (%(key)s, NOW_MS + %(window)s)
