//! Prepared statements that are kept, each found by where its text lies in the program: to find one by its
//! text takes as long as to run some of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, PrepFlags, Statement};

/// The statements of one connection.
pub(super) struct Statements<'c> {
    conn: &'c Connection,
    /// By the address and the length of their texts.
    kept: HashMap<(usize, usize), Statement<'c>>,
}

impl<'c> Statements<'c> {
    pub(super) fn of(conn: &'c Connection) -> Self {
        Self { conn, kept: HashMap::new() }
    }

    /// The statement of a text; prepared when it is first asked for.
    pub(super) fn get(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        match self.kept.entry((sql.as_ptr().addr(), sql.len())) {
            Entry::Occupied(kept) => Ok(kept.into_mut()),
            Entry::Vacant(place) => {
                let persistent = PrepFlags::SQLITE_PREPARE_PERSISTENT;
                Ok(place.insert(self.conn.prepare_with_flags(sql, persistent)?))
            }
        }
    }
}
