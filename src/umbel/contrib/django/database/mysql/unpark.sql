-- Put parked messages of tasks that are known now back. tasks
UPDATE umbel_message
JOIN JSON_TABLE(%(tasks)s, '$[*]' COLUMNS (value VARCHAR(255) PATH '$')) AS listed
ON umbel_message.task = listed.value
SET shelf = 0, deliveries = 0, reason = '', since = NOW_MS, turn = NOW_MS - priority * 36028797018963968
WHERE shelf = 3
