-- Let an open join wait for more calls. join, by
UPDATE umbel_join SET size = size + %(by)s WHERE id = %(join)s
