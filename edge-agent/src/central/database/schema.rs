//! The tables, as both databases take them: `{int}` is the name of a 64-bit integer, `{serial}` of one that counts.

/// Version of the tables below.
pub(super) const FORMAT: i64 = 1;

/// One statement a table. `central_format` holds one row.
const TABLES: &str = "
CREATE TABLE central_format (version {int} NOT NULL);

CREATE TABLE results (
    result_id    TEXT PRIMARY KEY,
    site         TEXT NOT NULL,
    device       TEXT NOT NULL,
    received_at  {int} NOT NULL,
    study_uid    TEXT,
    sop_uid      TEXT NOT NULL,
    content      TEXT NOT NULL,
    envelope     TEXT NOT NULL,
    repeats      {int} NOT NULL DEFAULT 0,
    conflicts    {int} NOT NULL DEFAULT 0
){strict};
CREATE INDEX results_by_arrival ON results (received_at);
CREATE INDEX results_by_device ON results (site, device, received_at);
CREATE INDEX results_by_study ON results (study_uid);
CREATE INDEX results_by_image ON results (sop_uid);

CREATE TABLE set_aside (
    position     {serial},
    received_at  {int} NOT NULL,
    topic        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    bytes        {int} NOT NULL,
    payload      TEXT NOT NULL
){strict};

CREATE TABLE devices (
    site         TEXT NOT NULL,
    device       TEXT NOT NULL,
    status       TEXT,
    status_at    {int},
    birth        TEXT,
    birth_at     {int},
    health       TEXT,
    health_at    {int},
    PRIMARY KEY (site, device)
){strict};

CREATE TABLE hand_ons (
    result_id    TEXT PRIMARY KEY REFERENCES results (result_id),
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'skipped')),
    due_at       {int} NOT NULL,
    attempts     {int} NOT NULL DEFAULT 0,
    claimed_by   TEXT,
    reason       TEXT
){strict};
CREATE INDEX hand_ons_due ON hand_ons (due_at) WHERE state = 'waiting';
";

/// The tables in SQLite's words.
pub(super) fn sqlite() -> String {
    let serial = "INTEGER PRIMARY KEY AUTOINCREMENT";
    TABLES.replace("{int}", "INTEGER").replace("{serial}", serial).replace("{strict}", " STRICT")
}

/// The tables in PostgreSQL's words.
pub(super) fn postgres() -> String {
    let serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY";
    TABLES.replace("{int}", "BIGINT").replace("{serial}", serial).replace("{strict}", "")
}
