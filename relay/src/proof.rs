//! Proof of work: what a site may ask of a visitor's browser before a session is opened.
//!
//! Nothing is kept of it: a challenge is signed, and holds for one idempotency key, under which a
//! call opens one session however often it is repeated.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use postern_shared::Timestamp;
use postern_shared::proof::{Challenge, Proof};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::secret;

/// How long a challenge can be answered.
const VALID: Duration = Duration::from_secs(300);

/// As many sessions as this in a minute are nothing special; with twice as many, each is twice the work.
const CALM_OPENINGS: f64 = 60.0;

/// The most by which the work grows: a visitor is to get in at the worst of times too.
const MAX_GROWTH: f64 = 16.0;

const MINUTE: Duration = Duration::from_secs(60);

/// What one site asks for, and how much it has to.
pub(crate) struct Proofs {
    signing: EncodingKey,
    verifying: DecodingKey,
    openings: Mutex<Openings>,
}

/// Sessions opened in about the last minute; each counts less as time passes.
struct Openings {
    count: f64,
    at: Instant,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    idempotency_key: String,
    hash: u32,
    exp: i64,
}

impl Proofs {
    pub(crate) fn new() -> Self {
        let secret = secret::random_bytes::<32>();
        Self {
            signing: EncodingKey::from_secret(&secret),
            verifying: DecodingKey::from_secret(&secret),
            openings: Mutex::new(Openings { count: 0.0, at: Instant::now() }),
        }
    }

    /// Asks a call under this key for `hashes` on average, and for more while many sessions are opened.
    pub(crate) fn challenge(&self, idempotency_key: &str, hashes: u32) -> Challenge {
        let max = f64::from(hashes) * 2.0 * self.growth();
        // A cast of what is too large takes the largest.
        let max = (max as u32).max(1);
        let hash = hash(idempotency_key, rand::rng().random_range(0..max));
        let valid = i64::try_from(VALID.as_secs()).unwrap_or_default();
        let exp = Timestamp::now().as_second() + valid;
        let claims = Claims { idempotency_key: idempotency_key.to_owned(), hash, exp };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing);
        // Texts and numbers can always be signed; what is not signed is refused.
        Challenge { token: token.unwrap_or_default(), hash, max }
    }

    /// Whether the work was done for a call under this key.
    pub(crate) fn holds(&self, proof: &Proof, idempotency_key: &str) -> bool {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        let claims = jsonwebtoken::decode::<Claims>(&proof.token, &self.verifying, &validation);
        claims.is_ok_and(|token| {
            token.claims.idempotency_key == idempotency_key
                && token.claims.hash == hash(idempotency_key, proof.number)
        })
    }

    /// Notes that a session was opened.
    pub(crate) fn note_opening(&self) {
        let mut openings = self.openings();
        *openings = Openings { count: openings.now() + 1.0, at: Instant::now() };
    }

    fn openings(&self) -> MutexGuard<'_, Openings> {
        // A count is whole whatever panicked beside it.
        self.openings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how much the work is more than in calm times.
    fn growth(&self) -> f64 {
        (self.openings().now() / CALM_OPENINGS).clamp(1.0, MAX_GROWTH)
    }
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proofs(..)")
    }
}

impl Openings {
    fn now(&self) -> f64 {
        self.count * (-self.at.elapsed().div_duration_f64(MINUTE)).exp()
    }
}

/// The first four bytes of the SHA-256 that is asked for.
fn hash(idempotency_key: &str, number: u32) -> u32 {
    let digest = Sha256::digest(format!("{idempotency_key}:{number}"));
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a-key-of-a-visitor";

    fn solve(challenge: &Challenge, key: &str) -> Proof {
        let number = (0..challenge.max).find(|number| hash(key, *number) == challenge.hash);
        Proof { token: challenge.token.clone(), number: number.unwrap() }
    }

    #[test]
    fn what_was_solved_holds_for_its_key_and_its_relay() {
        let (proofs, other) = (Proofs::new(), Proofs::new());
        let proof = solve(&proofs.challenge(KEY, 100), KEY);
        assert!(proofs.holds(&proof, KEY));
        assert!(!proofs.holds(&proof, "another-key-of-a-visitor"));
        assert!(!other.holds(&proof, KEY));
        assert!(!proofs.holds(&Proof { number: proof.number + 1, ..proof.clone() }, KEY));
        assert!(!proofs.holds(&Proof { token: String::new(), ..proof }, KEY));
    }

    #[test]
    fn a_challenge_runs_out() {
        let proofs = Proofs::new();
        let claims = |exp| Claims { idempotency_key: KEY.into(), hash: hash(KEY, 7), exp };
        let proof = |exp| Proof {
            token: jsonwebtoken::encode(&Header::default(), &claims(exp), &proofs.signing).unwrap(),
            number: 7,
        };
        let now = Timestamp::now().as_second();
        assert!(proofs.holds(&proof(now + 5), KEY));
        assert!(!proofs.holds(&proof(now - 1), KEY));
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_grows_with_the_load_to_a_bound_and_falls_again() {
        let proofs = Proofs::new();
        let open = |count| (0..count).for_each(|_| proofs.note_opening());
        let max = || proofs.challenge(KEY, 1_000).max;
        assert_eq!(max(), 2_000);
        open(60);
        assert_eq!(max(), 2_000);
        open(60);
        assert_eq!(max(), 4_000);
        open(10_000);
        assert_eq!(max(), 32_000);
        tokio::time::advance(10 * MINUTE).await;
        assert_eq!(max(), 2_000);
    }
}
