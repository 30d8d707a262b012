-- A node lives. id, ttl, info
INSERT INTO umbel_node (id, heard, silent_until, info) VALUES (%(id)s, %(steady)s, %(steady)s + %(ttl)s, %(info)s)
