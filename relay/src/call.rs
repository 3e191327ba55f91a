//! The call that is being answered: the name that its log lines have, and the route it is counted by.
//!
//! A span would write the name down for each call, whether anything is logged in it or not.

use std::cell::{OnceCell, RefCell};

use axum::extract::MatchedPath;
use axum::http::HeaderValue;
use tokio::task_local;

task_local! {
    static CALL: Call;
}

struct Call {
    id: RefCell<Option<HeaderValue>>,
    route: OnceCell<MatchedPath>,
}

/// Answers a call that has this name.
pub(crate) fn named<F: Future>(
    id: Option<HeaderValue>,
    answer: F,
) -> impl Future<Output = F::Output> + use<F> {
    CALL.scope(Call { id: id.into(), route: OnceCell::new() }, answer)
}

/// The name, for the log; `None` outside of any call.
pub(crate) fn id() -> Option<String> {
    let text = |call: &Call| Some(call.id.borrow().as_ref()?.to_str().ok()?.to_owned());
    CALL.try_with(text).ok().flatten()
}

/// Notes which route the call took.
pub(crate) fn note_route(route: Option<MatchedPath>) {
    if let Some(route) = route {
        // Only one can have been taken.
        let _ = CALL.try_with(|call| call.route.set(route));
    }
}

/// What is left to be told of the call once it is answered: its name, and the route it took, if any.
pub(crate) fn end() -> (Option<HeaderValue>, Option<MatchedPath>) {
    CALL.try_with(|call| (call.id.take(), call.route.get().cloned())).unwrap_or_default()
}
