-- A node has left, or will speak again at once. id
DELETE FROM umbel_node WHERE id = %(id)s
