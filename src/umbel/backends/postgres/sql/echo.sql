-- Say a word to oneself, to know whether one hears. word
SELECT pg_notify('umbel', 'e' || %(word)s)
