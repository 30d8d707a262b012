-- From now on steady instants are this much more than the machine's steady clock shows. boot, offset
INSERT INTO umbel_boot (id, boot, "offset") VALUES (1, %(boot)s, %(offset)s)
