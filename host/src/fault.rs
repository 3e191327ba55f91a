//! Places where a test may end the process, as `kill -9` would: between two steps of the protocol
//! that must survive it. In a build without the feature `faults` they are nothing.

/// A named step of the protocol; ends the process here when the environment says so.
///
/// `POSTERN_FAULT=<point>@<n>` ends it the n-th time the point is reached.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(feature = "faults")]
    armed::reached(name);
    #[cfg(not(feature = "faults"))]
    let _ = name;
}

#[cfg(feature = "faults")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        point: String,
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let setting = std::env::var("POSTERN_FAULT").ok()?;
        let (point, turn) = setting.split_once('@')?;
        Some(Armed { point: point.to_owned(), left: AtomicU64::new(turn.parse().ok()?) })
    });

    pub(super) fn reached(name: &'static str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == name) else { return };
        if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
