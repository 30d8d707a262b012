-- Every queue that was ever sent to.
SELECT name FROM queues ORDER BY name
