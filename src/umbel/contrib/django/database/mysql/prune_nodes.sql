-- Forget silent nodes.
DELETE FROM umbel_node WHERE silent_until <= NOW_MS
