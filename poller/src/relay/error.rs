//! Why a call to the relay did not do what it was for, and whether asking again may help.

use std::io;
use std::time::Duration;

/// Why a call did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The address is no `http` or `https` address.
    #[error("--relay must be an address such as https://relay.example: {0}")]
    BadAddress(String),
    /// The TLS or HTTP client could not be made.
    #[error("no HTTP client: {0}")]
    NoClient(String),
    /// No answer, or half of one.
    #[error("the relay cannot be reached: {0}")]
    Unreachable(String),
    /// Whoever answers did not show that it is the relay.
    #[error("the relay's certificate is refused, and nothing is sent: {0}")]
    BadCertificate(String),
    /// 401 or 403.
    #[error("the relay refuses the key ({status}): {sentence}")]
    KeyRefused {
        /// The status.
        status: u16,
        /// What the relay said.
        sentence: String,
    },
    /// Someone else has the message now.
    #[error("the lease was lost: {0}")]
    LeaseLost(String),
    /// There is a gap between what the relay knows of a reply and the piece it was sent.
    #[error("the relay wants the reply from byte {wanted} on")]
    Gap {
        /// The offset that is wanted, in bytes.
        wanted: u64,
    },
    /// The message is answered, given up or gone: nothing more is to be done for it.
    #[error("the message is settled: {0}")]
    Settled(String),
    /// 429 or 5xx.
    #[error("the relay is not ready ({status}): {sentence}")]
    Busy {
        /// The status.
        status: u16,
        /// What the relay said.
        sentence: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Any other refusal; asking again would change nothing.
    #[error("the relay refuses the call ({status}): {sentence}")]
    Refused {
        /// The status.
        status: u16,
        /// What the relay said.
        sentence: String,
    },
    /// The relay takes no more files for now, or not so many with one reply.
    #[error("the relay takes no more files: {0}")]
    TooManyFiles(String),
    /// A file of a reply is not where it was put.
    #[error("the file cannot be read: {0}")]
    NoFile(#[source] io::Error),
    /// A file did not come as it was announced, or could not be put down here.
    #[error("the file {0}")]
    BadFile(String),
    /// Not a relay's answer.
    #[error("what answers at this address does not speak as a relay does: {0}")]
    NotARelay(String),
}

impl RelayError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::BadCertificate(_)
            | Self::Busy { .. }
            | Self::BadFile(_)
            | Self::NotARelay(_) => true,
            Self::BadAddress(_)
            | Self::NoClient(_)
            | Self::KeyRefused { .. }
            | Self::LeaseLost(_)
            | Self::Gap { .. }
            | Self::Settled(_)
            | Self::TooManyFiles(_)
            | Self::NoFile(_)
            | Self::Refused { .. } => false,
        }
    }

    /// How long the relay asks to wait; a least, not an exact time.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
