-- Forget silent nodes.
DELETE FROM umbel_node WHERE silent_until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint
