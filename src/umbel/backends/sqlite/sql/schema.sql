-- The database of version 1. Run once, in one transaction, in an empty file.
--
-- Every message is one row, on one shelf: 0 waiting, 1 scheduled, 2 held, 3 parked, 4 dead.
-- Each shelf has a partial index of its own, so that a million rows on one cost nothing on another.
-- Instants are milliseconds: of the wall clock (due, since, until, expires_at, at, stored_at)
-- or of the machine's steady clock (lease_until, heard, silent_until; see clock.py).
CREATE TABLE messages (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    queue       TEXT    NOT NULL,
    shelf       INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    rank        INTEGER NOT NULL,            -- within a priority: when due; negative for what goes first
    due         INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL DEFAULT 0,
    token       INTEGER,                     -- random, new at every delivery; NULL unless held
    lease_until INTEGER,
    holder      TEXT,
    since       INTEGER NOT NULL,
    task_id     TEXT    NOT NULL,
    task        TEXT    NOT NULL,
    reason      TEXT    NOT NULL DEFAULT '',
    frame       BLOB    NOT NULL             -- kombu's JSON envelope; last, for it may be long
) STRICT;
CREATE INDEX messages_waiting   ON messages (queue, priority DESC, rank, id, task_id) WHERE shelf = 0;
CREATE INDEX messages_scheduled ON messages (due, queue)                     WHERE shelf = 1;
CREATE INDEX messages_held      ON messages (lease_until, queue)             WHERE shelf = 2;
CREATE INDEX messages_parked    ON messages (since, queue)                   WHERE shelf = 3;
CREATE INDEX messages_unknown   ON messages (task)                           WHERE shelf = 3;
CREATE INDEX messages_dead      ON messages (queue, since)                   WHERE shelf = 4;
-- What waits and what is held has no index by task id: keys in random order would cost every message more than all
-- the rest together. `find` reads through messages_waiting (0.1 s for a million) and through the few that are held.
CREATE INDEX messages_task_id   ON messages (task_id)                        WHERE shelf IN (1, 3, 4);

CREATE TABLE queues (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE dedupe (key TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_until ON dedupe (until);

CREATE TABLE revoked (task_id TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_until ON revoked (until);

CREATE TABLE results (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,  -- new at every write: "what came since" is a range
    task_id    TEXT    NOT NULL UNIQUE,
    state      TEXT    NOT NULL,
    stored_at  INTEGER NOT NULL,
    expires_at INTEGER,                            -- NULL: kept for ever
    payload    BLOB    NOT NULL
) STRICT;
CREATE INDEX results_expire ON results (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE nodes (
    id           TEXT PRIMARY KEY,
    heard        INTEGER NOT NULL,
    silent_until INTEGER NOT NULL,
    info         BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signals (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, signal BLOB NOT NULL) STRICT;

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
