-- Tell every subscriber. ?1 now, ?2 signal
INSERT INTO signals (at, signal) VALUES (?1, ?2)
