-- The relay's whole schema, version 1. Each choice has its reason beside it.
--
-- Times are whole milliseconds since 1970. `at`, `created_at` and the like are by the host's clock
-- and are for people; `visible_at` and what is called steady is by the relay's steady clock and is
-- for deadlines only, so a host clock that jumps moves no lease.

-- A web site whose visitors are served. Written at each start from the configuration; one that is no
-- longer configured keeps its row, since its conversations refer to it. What its limits count is kept
-- here, so that a limit never costs a look at all rows.
CREATE TABLE site (
    id         INTEGER PRIMARY KEY,
    public_id  TEXT    NOT NULL UNIQUE,
    unanswered TEXT    NOT NULL,                  -- what visitors are told of a message that was given up
    session_count   INTEGER NOT NULL DEFAULT 0,   -- by the triggers below
    open_count      INTEGER NOT NULL DEFAULT 0,   -- its rows of `inbox`; no trigger's, since that costs each
                                                  -- row the copies of all pages that it changes
    day             INTEGER NOT NULL DEFAULT 0,   -- the day (UTC) of its latest message, in days since 1970
    day_count       INTEGER NOT NULL DEFAULT 0,   -- the messages of that day
    minute_whole_at INTEGER NOT NULL DEFAULT 0    -- when all of a minute's messages are allowed again; steady
) STRICT;

-- Keys that `postern-relay keys` made. Only the hash of a key is known here.
CREATE TABLE key (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL,
    site         INTEGER REFERENCES site (id),    -- whose messages it opens; null for the operator's
    hash         BLOB    NOT NULL UNIQUE,         -- SHA-256 of 256 random bits, so no salt
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,                         -- to the minute
    ends_at      INTEGER                          -- revoked, or replaced, from this moment on
) STRICT;

-- A name stands for one key at a time; those it stood for before are kept for the operator to see.
CREATE UNIQUE INDEX key_by_name ON key (name) WHERE ends_at IS NULL;

-- Visitors that a site's own server vouches for: the same on every device.
CREATE TABLE verified_visitor (
    id    INTEGER PRIMARY KEY,
    site  INTEGER NOT NULL REFERENCES site (id),
    sub   TEXT    NOT NULL,                       -- the site's own name for the visitor
    name  TEXT,
    email TEXT,
    uid   TEXT    NOT NULL,
    UNIQUE (site, sub),
    UNIQUE (site, uid)
) STRICT;

-- A conversation. The integer key stands in every other row instead of the public id of up to 64
-- characters: smaller rows, smaller indexes, nearly twice the writes per second.
CREATE TABLE session (
    id             INTEGER PRIMARY KEY,
    public_id      TEXT    NOT NULL UNIQUE,       -- over all sites, so that an operator needs no more
    site           INTEGER NOT NULL REFERENCES site (id),
    uid            TEXT    NOT NULL,              -- the visitor over sessions, 16 hex digits
    visitor        INTEGER REFERENCES verified_visitor (id), -- null for one that is not vouched for
    created_at     INTEGER NOT NULL,
    last_active    INTEGER NOT NULL,
    message_count  INTEGER NOT NULL DEFAULT 0,    -- kept, so that a list of sessions counts nothing
    response_count INTEGER NOT NULL DEFAULT 0,
    up_count       INTEGER NOT NULL DEFAULT 0,    -- replies that are rated up, and down
    down_count     INTEGER NOT NULL DEFAULT 0,
    ip_address     TEXT,
    metadata       TEXT,                          -- JSON object that came with the first message
    opening_key    BLOB,                          -- hash of the idempotency key that opened it
    entries        TEXT    NOT NULL DEFAULT '',   -- its latest entries, as in `earlier_entries`
    keys           BLOB    NOT NULL DEFAULT x'',  -- and their idempotency keys
    chapters       INTEGER NOT NULL DEFAULT 0,    -- its rows of `earlier_entries`
    minute_whole_at INTEGER NOT NULL DEFAULT 0,   -- as for a site
    day_whole_at    INTEGER NOT NULL DEFAULT 0    -- when all of a day's messages are allowed again; steady
) STRICT;

CREATE TRIGGER session_opened AFTER INSERT ON session BEGIN
    UPDATE site SET session_count = session_count + 1 WHERE id = NEW.site;
END;
CREATE TRIGGER session_forgotten AFTER DELETE ON session BEGIN
    UPDATE site SET session_count = session_count - 1 WHERE id = OLD.site;
END;

-- Finds the session again when the answer that opened it was lost on the way.
CREATE UNIQUE INDEX session_by_opening_key ON session (site, opening_key) WHERE opening_key IS NOT NULL;

-- What proves a visitor's right to a session. Several, since a lost answer is repeated with a fresh
-- token while the first may have arrived after all. Only the hash of a token is known here.
CREATE TABLE session_token (
    hash       BLOB    PRIMARY KEY,               -- SHA-256 of the site's id and 256 random bits
    session    INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_token_by_session ON session_token (session);

-- What was said in a conversation, in order: the ids of its entries, with commas between them. With them
-- the idempotency keys that they came with, eight bytes of each one's hash, to know a repeat by. No indexes
-- of messages, since each would have every message change one more page, and another than its neighbours:
-- with a million stored, as much as all else of it. The latest 32 are in the session's row, which each
-- message changes anyway; when there is one more, they go here.
CREATE TABLE earlier_entries (
    session INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    before  INTEGER NOT NULL,                     -- the entry that they are before
    entries TEXT    NOT NULL,
    keys    BLOB    NOT NULL,
    PRIMARY KEY (session, before)
) STRICT, WITHOUT ROWID;

-- The same for queries: a row for each entry, and its place.
CREATE VIEW conversation (session, entry, chapter, place) AS
    SELECT session, value, before, key FROM (
        SELECT session, before, entries FROM earlier_entries
        UNION ALL SELECT id, 9223372036854775807, entries FROM session
    ), json_each('[' || entries || ']');

-- Everything that was said, in the order it was stored; rows are only ever added. The id is also
-- the cursor, so it must never be used twice: AUTOINCREMENT. What is of one session is found by
-- `conversation`, never by a look at all rows.
CREATE TABLE message (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    session     INTEGER NOT NULL REFERENCES session (id),
    role        INTEGER NOT NULL CHECK (role BETWEEN 0 AND 3), -- visitor, agent, operator, system
    text        TEXT    NOT NULL,                 -- byte for byte as it was sent
    answers     INTEGER,                          -- the visitor's message that a reply answers
    at          INTEGER NOT NULL,
    sent_at     INTEGER,                          -- by the sender's own clock, when it was told
    metadata    TEXT,                             -- JSON object
    idempotency BLOB,                             -- hash of the idempotency key
    stopped     INTEGER NOT NULL DEFAULT 0,       -- a reply that the visitor stopped
    quick_replies TEXT                            -- JSON array of texts that a reply offers; null for none
) STRICT;

-- The messages that still want an answer, and nothing else: answering deletes the row. So this
-- table stays as small as the number that wait, however many messages are stored.
--
-- `visible_at` is null for all but one message of each session, the oldest (or one that was leased
-- before an older one was put back); that is what keeps a session's order with any number of
-- pollers. Leasing pushes it into the future, and a lease that
-- runs out makes the message visible again by the passing of time alone. A batch (docs/broca.md)
-- leases several of a session, each under an id that begins with `batch-`.
CREATE TABLE inbox (
    session    INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    message    INTEGER NOT NULL REFERENCES message (id),
    site       INTEGER NOT NULL REFERENCES site (id), -- its session's, for the index below
    visible_at INTEGER,
    hidden_ms  INTEGER NOT NULL DEFAULT 0,        -- for how long visible_at was last pushed away
    attempts   INTEGER NOT NULL DEFAULT 0,
    lease_id   TEXT,                              -- the latest lease; null before the first and after a nack
    last_error TEXT,                              -- what the latest nack said
    cancelled  INTEGER NOT NULL DEFAULT 0,        -- leased, and the visitor wants no reply any more
    PRIMARY KEY (session, message)
) STRICT, WITHOUT ROWID;

-- Leasing reads from the front of a site's part of this index and never past what it takes.
CREATE INDEX inbox_by_visibility ON inbox (site, visible_at, message) WHERE visible_at IS NOT NULL;

-- Messages given up: out of attempts, or refused for good. Kept for the operator.
CREATE TABLE dead_letter (
    message  INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    session  INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    attempts INTEGER NOT NULL,
    error    TEXT,
    at       INTEGER NOT NULL
) STRICT;

CREATE INDEX dead_letter_by_session ON dead_letter (session);

-- Files that were sent. Their bytes lie in a folder beside the database, each under its public id;
-- a row is written once they are on disk. Bytes without a row are left: a check names them.
CREATE TABLE file (
    id          INTEGER PRIMARY KEY,
    public_id   TEXT    NOT NULL UNIQUE,
    session     INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    message     INTEGER REFERENCES message (id) ON DELETE CASCADE, -- null until one takes it along
    place       INTEGER,                          -- among the files of its message
    role        INTEGER NOT NULL CHECK (role IN (0, 1)), -- who sent it: visitor, agent
    name        TEXT    NOT NULL,
    type        TEXT    NOT NULL,                 -- media type
    size_bytes  INTEGER NOT NULL,
    digest      BLOB    NOT NULL,                 -- SHA-256, to know a repeat by
    idempotency BLOB,                             -- hash of the idempotency key, per session
    uploaded_at INTEGER NOT NULL                  -- by the steady clock
) STRICT;

CREATE INDEX file_by_message ON file (message) WHERE message IS NOT NULL;

-- The few that wait for their message: counted per session, and swept by age.
CREATE INDEX file_waiting ON file (session, role) WHERE message IS NULL;
CREATE INDEX file_by_age ON file (uploaded_at) WHERE message IS NULL;

CREATE UNIQUE INDEX file_by_idempotency ON file (session, idempotency)
    WHERE idempotency IS NOT NULL;

CREATE INDEX file_by_session ON file (session);

-- What visitors think of replies. A rating may change and be taken back while messages never do, and
-- few replies have one: hence a table of its own.
CREATE TABLE feedback (
    message INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    session INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    rating  INTEGER NOT NULL CHECK (rating IN (1, -1)), -- up, down
    comment TEXT,                                 -- in the visitor's words, as they were sent
    at      INTEGER NOT NULL
) STRICT;

CREATE INDEX feedback_by_session ON feedback (session);

-- One row that a health check writes, to know that writing works.
CREATE TABLE health (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    checked_at INTEGER NOT NULL
) STRICT;
