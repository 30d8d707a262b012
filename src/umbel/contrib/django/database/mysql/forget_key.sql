-- Forget a key whose window has closed. key
DELETE FROM umbel_dedupe WHERE `key` = %(key)s AND until <= NOW_MS
