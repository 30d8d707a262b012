-- It belongs to another one.
DELETE FROM umbel_boot
