-- The nodes that live, most recently heard first. Row: time since it was heard, info
SELECT %(steady)s - heard, info FROM umbel_node WHERE silent_until > %(steady)s ORDER BY heard DESC
