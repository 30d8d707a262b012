-- The nodes that live, most recently heard first. Row: time since it was heard, info
SELECT now - heard, info
FROM umbel_node, (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
WHERE silent_until > now ORDER BY heard DESC
