//! What the passing of time does, and a new run of the relay.

use std::cmp::min;

use super::{Fate, MAX_ATTEMPTS, Model, Open};

const LEASE_RAN_OUT: &str = "no answer before the last lease ran out";

impl Model {
    /// Once their leases have run out, gives up what has had its last, stops what was cancelled and
    /// ends the drafts. Returns how many were given up.
    pub(crate) fn sweep(&mut self) -> usize {
        self.swept_at = self.now.steady_ms;
        let is_over = |open: &Open| open.attempts >= MAX_ATTEMPTS || open.cancelled;
        let mut given_up = 0;
        for id in self.in_turn(|open| open.visible_at <= self.swept_at && is_over(open)) {
            let open = self.open(id).expect("it is in turn").clone();
            if open.cancelled {
                self.stop(id, &open.written());
            } else {
                self.give_up(id, open.error.unwrap_or_else(|| LEASE_RAN_OUT.into()));
                given_up += 1;
            }
        }
        for id in self.in_turn(|open| !open.is_leased(self.swept_at)) {
            self.open(id).expect("it is in turn").draft = None;
        }
        given_up
    }

    /// A new run's steady clock begins at the host's time. Nothing is hidden for longer from there
    /// than it was from when it was hidden. What was being written is the poller's to bring again.
    pub(crate) fn reopen(&mut self) {
        self.now.steady_ms = self.now.wall_ms;
        self.swept_at = i64::MIN;
        for said in &mut self.said {
            if let Fate::Open(open) = &mut said.fate {
                open.visible_at = min(open.visible_at, self.now.steady_ms + open.hidden_ms);
                open.draft = None;
            }
        }
    }

    /// When the next lease, or wait after a nack, ends.
    pub(crate) fn next_deadline(&self) -> i64 {
        let ahead = self.in_turn(|open| open.visible_at > self.now.steady_ms);
        ahead.first().map_or(i64::MAX, |id| self.visible_at(*id))
    }
}
