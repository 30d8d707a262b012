-- A node lives. id, ttl, info
INSERT INTO umbel_node (id, heard, silent_until, info) VALUES (%(id)s, NOW_MS, NOW_MS + %(ttl)s, %(info)s)
ON DUPLICATE KEY UPDATE heard = VALUES(heard), silent_until = VALUES(silent_until), info = VALUES(info)
