-- Broca's tables as its database has them, with a user of another platform.
CREATE TABLE letta_users (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at          TEXT DEFAULT CURRENT_TIMESTAMP,
    last_active         TEXT,
    letta_identity_id   TEXT,
    letta_block_id      TEXT,
    agent_preferences   TEXT,
    custom_instructions TEXT,
    is_active           INTEGER DEFAULT 1
);
CREATE TABLE platform_profiles (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    letta_user_id    INTEGER REFERENCES letta_users (id),
    platform         TEXT,
    platform_user_id TEXT,
    username         TEXT,
    display_name     TEXT,
    metadata         TEXT,
    created_at       TEXT DEFAULT CURRENT_TIMESTAMP,
    last_active      TEXT,
    UNIQUE (platform, platform_user_id)
);
CREATE TABLE messages (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    letta_user_id       INTEGER REFERENCES letta_users (id),
    platform_profile_id INTEGER REFERENCES platform_profiles (id),
    role                TEXT,
    message             TEXT,
    timestamp           TEXT,
    processed           INTEGER DEFAULT 0,
    agent_response      TEXT
);
CREATE TABLE queue (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    letta_user_id INTEGER REFERENCES letta_users (id),
    message_id    INTEGER REFERENCES messages (id),
    status        TEXT,
    attempts      INTEGER DEFAULT 0,
    timestamp     TEXT DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO letta_users VALUES
    (1, '2025-06-01T08:00:00', '2025-06-01T08:00:01', 'identity-1', 'block-1', NULL, NULL, 1);
INSERT INTO platform_profiles VALUES
    (1, 1, 'telegram', '4711', 'someone', 'Someone', NULL, '2025-06-01T08:00:00', '2025-06-01T08:00:01');
INSERT INTO messages VALUES
    (1, 1, 1, 'user', 'Hello from elsewhere', '2025-06-01T08:00:00', 1, 'Hello');
INSERT INTO queue VALUES (1, 1, 1, 'completed', 0, '2025-06-01T08:00:02');
