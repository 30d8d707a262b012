-- Undo deliveries whose answer was lost: nobody has seen them. tokens
UPDATE umbel_message
SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL, deliveries = deliveries - 1
WHERE shelf = 2 AND token = ANY (%(tokens)s::bigint[])
