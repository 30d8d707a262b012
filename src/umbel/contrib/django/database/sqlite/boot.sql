-- The boot that the offset belongs to. Row: boot, offset
SELECT boot, "offset" FROM umbel_boot WHERE id = 1
