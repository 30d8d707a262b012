-- Give a held message back, before everything of its priority that waits. id, taken (deliveries to take back)
-- The constants are those of a turn: a step of priority, and the way to the front.
UPDATE umbel_message
SET shelf = 0, token = NULL, lease_until = NULL, holder = NULL, deliveries = deliveries - %(taken)s,
    turn = CASE WHEN turn + priority * 36028797018963968 < 0 THEN turn ELSE turn - 4503599627370496 END
WHERE id = %(id)s
