-- The poller's durable queue, version 1: what was pulled and not yet settled, and what was said.

-- One message from its lease to the moment the relay has confirmed its outcome; then the row goes.
CREATE TABLE job (
    message_id          INTEGER PRIMARY KEY,
    session_id          TEXT    NOT NULL,
    uid                 TEXT    NOT NULL,
    visitor             TEXT    NOT NULL,      -- JSON object: who that is, and by whose word
    message             TEXT    NOT NULL,
    timestamp           TEXT    NOT NULL,      -- RFC 3339, as the relay gave it
    metadata            TEXT    NOT NULL,      -- JSON object
    files               TEXT    NOT NULL,      -- JSON array of the files that go with it
    lease_id            TEXT,                  -- null when the lease was lost after the answer
    attempts            INTEGER NOT NULL,
    state               TEXT    NOT NULL       -- not IN: for three texts SQLite fills a table, for each row anew
        CHECK (state = 'leased' OR state = 'answered' OR state = 'failed'),
    reply               TEXT,                  -- of an answered one
    stopped             INTEGER NOT NULL DEFAULT 0, -- whether the visitor stopped that reply
    quick_replies       TEXT,                  -- JSON array of texts that go with that reply
    reply_files         TEXT,                  -- JSON array of the files that go with it, and where they are
    error               TEXT,                  -- of a failed one
    retry_after_seconds INTEGER,               -- of a failed one; null gives it up for good
    settled_at          INTEGER                -- when it was answered or failed, ms since 1970
) STRICT;

CREATE INDEX leased_job ON job (message_id) WHERE state = 'leased';

-- The conversations, for an agent's memory; none with an agent that remembers by itself. By visitor too: a
-- session id that a relay gives out anew must not bring a stranger's conversation with it. What was said
-- last in one lies together, so that a message reads and writes a page or two, however many conversations
-- there are.
CREATE TABLE turn (
    session_id TEXT    NOT NULL,
    uid        TEXT    NOT NULL,
    number     INTEGER NOT NULL,               -- counts up in a conversation
    message_id INTEGER NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
    content    TEXT    NOT NULL,
    PRIMARY KEY (session_id, uid, number)
) STRICT, WITHOUT ROWID;
