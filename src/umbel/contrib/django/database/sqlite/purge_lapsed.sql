-- Delete what was held under a lease that ended: it would wait if anybody had looked. queues
DELETE FROM umbel_message
WHERE shelf = 2 AND lease_until <= %(steady)s AND queue IN (SELECT value FROM json_each(%(queues)s))
