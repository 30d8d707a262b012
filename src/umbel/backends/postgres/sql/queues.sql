-- Every queue that holds something or was ever worked on. The recursion hops from name to name in the index.
WITH RECURSIVE waiting (queue) AS (
    (SELECT queue FROM umbel_message WHERE shelf = 0 ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT m.queue FROM umbel_message AS m WHERE m.shelf = 0 AND m.queue > waiting.queue ORDER BY m.queue LIMIT 1)
    FROM waiting WHERE waiting.queue IS NOT NULL
), dead (queue) AS (
    (SELECT queue FROM umbel_message WHERE shelf = 4 ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT m.queue FROM umbel_message AS m WHERE m.shelf = 4 AND m.queue > dead.queue ORDER BY m.queue LIMIT 1)
    FROM dead WHERE dead.queue IS NOT NULL
)
SELECT name FROM umbel_queue
UNION SELECT queue FROM waiting WHERE queue IS NOT NULL
UNION SELECT queue FROM dead WHERE queue IS NOT NULL
UNION SELECT queue FROM umbel_message WHERE shelf = 1
UNION SELECT queue FROM umbel_message WHERE shelf = 2
UNION SELECT queue FROM umbel_message WHERE shelf = 3
