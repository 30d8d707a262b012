-- The nodes that live, most recently heard first. Row: time since it was heard, info
SELECT NOW_MS - heard, info FROM umbel_node WHERE silent_until > NOW_MS ORDER BY heard DESC
