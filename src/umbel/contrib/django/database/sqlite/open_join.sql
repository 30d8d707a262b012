-- Open a join; one that is open stays as it is. join, size, ttl (NULL: for ever)
INSERT INTO umbel_join (id, size, filled, expires_at) VALUES (%(join)s, %(size)s, 0, %(now)s + %(ttl)s)
ON CONFLICT (id) DO NOTHING
