-- After a boot nobody lives any more.
DELETE FROM nodes
