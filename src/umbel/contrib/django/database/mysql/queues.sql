-- Every queue that holds something or was ever worked on.
SELECT name FROM umbel_queue UNION SELECT DISTINCT queue FROM umbel_message
