//! Reading what answers at the relay's address: each body bounded, each refusal understood, nothing
//! taken on trust.

use std::time::Duration;

use futures_util::StreamExt;
use postern_shared::{ErrorType, Failure};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;

use super::{RelayError, certificate};
use crate::one_line::one_line;

/// The largest answer that is read, but for messages and files; a relay's stay well below.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The largest message that is read, with all that comes with it; four times what a relay takes from
/// a visitor by default.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Asks, and reads an answer of at most so many bytes.
pub(super) async fn read<T: DeserializeOwned>(
    call: RequestBuilder,
    max_bytes: usize,
) -> Result<T, RelayError> {
    let response = answered(call).await?;
    read_json(response, max_bytes).await
}

/// The body of a successful answer.
pub(crate) async fn read_json<T: DeserializeOwned>(
    response: Response,
    max_bytes: usize,
) -> Result<T, RelayError> {
    let body = read_body(response, max_bytes).await?;
    serde_json::from_slice(&body).map_err(|problem| not_a_relay(&problem.to_string()))
}

/// A successful answer whose body is still to be read.
pub(super) async fn answered(call: RequestBuilder) -> Result<Response, RelayError> {
    accepted(call.send().await.map_err(|cause| unreachable(&cause))?).await
}

/// An answer, unless it is a refusal.
pub(crate) async fn accepted(response: Response) -> Result<Response, RelayError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(&response);
    // The status of a failure says enough, whatever its body is.
    let body = read_body(response, MAX_ANSWER_BYTES).await.unwrap_or_default();
    Err(refusal(status, retry_after, &body))
}

/// The innermost cause says what happened; the outer ones repeat the address.
pub(super) fn unreachable(error: &reqwest::Error) -> RelayError {
    if let Some(why) = certificate::refusal(error) {
        return RelayError::BadCertificate(one_line(&why));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_timeout() { "no answer in time".into() } else { cause.to_string() };
    RelayError::Unreachable(one_line(&what))
}

/// The reason may hold what was read, which is for nobody's log as it is.
pub(super) fn not_a_relay(why: &str) -> RelayError {
    RelayError::NotARelay(one_line(why))
}

async fn read_body(response: Response, max_bytes: usize) -> Result<Vec<u8>, RelayError> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|cause| unreachable(&cause))?);
        if body.len() > max_bytes {
            return Err(not_a_relay(&format!("it answers with more than {max_bytes} bytes")));
        }
    }
    Ok(body)
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> RelayError {
    let failure: Option<Failure> = serde_json::from_slice(body).ok();
    let kind = failure.as_ref().map_or(ErrorType::Unknown, |failure| failure.kind);
    let wanted = failure.as_ref().and_then(|failure| failure.offset).unwrap_or_default();
    let sentence = failure.map_or_else(
        || "an answer that is not a relay's, perhaps of a proxy in between".to_owned(),
        |failure| one_line(&failure.error),
    );
    let code = status.as_u16();
    match (code, kind) {
        (401 | 403, _) => RelayError::KeyRefused { status: code, sentence },
        (409, ErrorType::StaleLease | ErrorType::NotLeased) => RelayError::LeaseLost(sentence),
        (409, ErrorType::OffsetMismatch) => RelayError::Gap { wanted },
        (_, ErrorType::TooManyFiles) => RelayError::TooManyFiles(sentence),
        (404, ErrorType::NotFound) | (409, _) => RelayError::Settled(sentence),
        (408 | 429 | 500..=599, _) => RelayError::Busy { status: code, sentence, retry_after },
        (300..=399, _) => not_a_relay(&format!("status {code}; redirects are not followed")),
        (100..=199 | 404 | 405, _) => not_a_relay(&format!("status {code}")),
        _ => RelayError::Refused { status: code, sentence },
    }
}

/// `Retry-After` in seconds; the form with a date is not one a relay gives.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
