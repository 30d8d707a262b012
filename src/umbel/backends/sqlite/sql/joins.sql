-- The tables of joins, which version 2 of the schema has.

CREATE TABLE joins (
    id         TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,                   -- for how many calls it waits
    filled     INTEGER NOT NULL DEFAULT 0,         -- how many have arrived
    expires_at INTEGER                             -- NULL: kept for ever
) STRICT, WITHOUT ROWID;
CREATE INDEX joins_expire ON joins (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE join_parts (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,     -- the order of arrival
    join_id TEXT    NOT NULL,
    task_id TEXT    NOT NULL,
    place   INTEGER NOT NULL,                      -- its place among the others
    failed  INTEGER NOT NULL,
    part    BLOB    NOT NULL,
    UNIQUE (join_id, task_id)
) STRICT;
