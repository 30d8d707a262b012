-- Delete the oldest dead letters of a queue, all but the most newest, at most limit of them. queue, most, limit
DELETE FROM umbel_message WHERE id IN (
    SELECT id FROM umbel_message WHERE shelf = 4 AND queue = %(queue)s ORDER BY since, id
    LIMIT max(0, min(%(limit)s,
        (SELECT count(*) FROM umbel_message WHERE shelf = 4 AND queue = %(queue)s) - %(most)s))
)
