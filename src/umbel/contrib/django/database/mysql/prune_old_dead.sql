-- Delete dead letters of a queue that have lain there for longer than age, the oldest first. queue, age, limit
DELETE FROM umbel_message WHERE shelf = 4 AND queue = %(queue)s AND since < NOW_MS - %(age)s
ORDER BY since LIMIT %(limit)s
