-- Delete the oldest dead letters of a queue, all but the most newest, at most limit of them. queue, most, limit
DELETE umbel_message FROM umbel_message JOIN (
    SELECT id FROM (
        SELECT id, since FROM umbel_message WHERE shelf = 4 AND queue = %(queue)s
        ORDER BY since DESC, id DESC LIMIT 9223372036854775807 OFFSET %(most)s
    ) AS crowd ORDER BY since, id LIMIT %(limit)s
) AS oldest ON umbel_message.id = oldest.id
