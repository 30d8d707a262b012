-- The queue of a dead letter. id. Row: queue
SELECT queue FROM umbel_message WHERE id = %(id)s AND shelf = 4
