-- From now on the steady instants in this file belong to another boot. ?1 its id
INSERT INTO meta (key, value) VALUES ('boot', ?1) ON CONFLICT (key) DO UPDATE SET value = excluded.value
