-- Delete the oldest dead letters of a queue, all but the most newest, at most limit of them. queue, most, limit
DELETE FROM umbel_message WHERE id = ANY (ARRAY(
    SELECT id FROM umbel_message WHERE shelf = 4 AND queue = %(queue)s ORDER BY since, id
    LIMIT greatest(0, least(%(limit)s,
        (SELECT count(*) FROM umbel_message WHERE shelf = 4 AND queue = %(queue)s) - %(most)s))
))
