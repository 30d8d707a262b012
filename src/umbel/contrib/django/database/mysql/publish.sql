-- Tell every subscriber. signal
INSERT INTO umbel_signal (sent_at, `signal`) VALUES (NOW_MS, %(signal)s)
