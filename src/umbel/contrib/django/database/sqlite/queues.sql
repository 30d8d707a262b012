-- Every queue that holds something or was ever worked on. The recursion hops from name to name in the index.
WITH RECURSIVE waiting (queue) AS (
    SELECT min(queue) FROM umbel_message WHERE shelf = 0
    UNION ALL
    SELECT (SELECT min(queue) FROM umbel_message WHERE shelf = 0 AND queue > waiting.queue)
    FROM waiting WHERE waiting.queue IS NOT NULL
), dead (queue) AS (
    SELECT min(queue) FROM umbel_message WHERE shelf = 4
    UNION ALL
    SELECT (SELECT min(queue) FROM umbel_message WHERE shelf = 4 AND queue > dead.queue)
    FROM dead WHERE dead.queue IS NOT NULL
)
SELECT name FROM umbel_queue
UNION SELECT queue FROM waiting WHERE queue IS NOT NULL
UNION SELECT queue FROM dead WHERE queue IS NOT NULL
UNION SELECT queue FROM umbel_message WHERE shelf = 1
UNION SELECT queue FROM umbel_message WHERE shelf = 2
UNION SELECT queue FROM umbel_message WHERE shelf = 3
