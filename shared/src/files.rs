//! Files that go with messages and replies. Their bytes travel as bodies of their own.

use serde::{Deserialize, Serialize};

use crate::proof::Proof;
use crate::{FileId, Metadata, SessionId, Uid};

/// A file that goes with an entry of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Its name, as its sender calls it; no path.
    pub name: String,
    /// Its media type, one of those the relay takes.
    #[serde(rename = "type")]
    pub media_type: String,
    /// How large it is.
    pub size_bytes: u64,
}

/// The answer to `POST /sessions/{session_id}/files`, given once the file is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStored {
    /// Its id, for the `files` of a message or a reply.
    pub file_id: FileId,
    /// Its name.
    pub name: String,
    /// Its media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// How large it is.
    pub size_bytes: u64,
}

/// `POST /sessions`: opens a session before there is a message, such as to send a file first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OpenSession {
    /// Kept with the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// A token (JWT) in which the site's server says who the visitor is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The answer to a challenge, where the site asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// The answer to [`OpenSession`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The session.
    pub session_id: SessionId,
    /// Its secret.
    pub session_token: String,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// True when this call made the `uid`.
    pub is_new_user: bool,
}
