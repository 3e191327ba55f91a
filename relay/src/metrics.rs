//! What the relay counts, in Prometheus' names and base units.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use postern_shared::SiteId;
use postern_shared::visitor::Rating;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::limits::Limit;
use crate::store::{Inbox, Now};

/// The relay's metrics; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) messages: Counter,
    pub(crate) replies: Counter,
    pub(crate) chunks: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) feedback: Family<FeedbackLabels, Counter>,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) limits_reached: Family<LimitLabels, Counter>,
    pub(crate) event_streams: Gauge,
    pub(crate) lease_calls_held: Gauge,
    pub(crate) last_poll: Gauge,
    host_connected: Family<SiteLabels, Gauge>,
    budgets_spent: Family<SiteLabels, Counter>,
    open_messages: Gauge,
    oldest_age: Gauge<f64, AtomicU64>,
    registry: Arc<Registry>,
}

/// One series per call and outcome; the route is the pattern, never the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

/// One series per site.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SiteLabels {
    site: String,
}

/// One series per limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabels {
    limit: &'static str,
}

impl From<Limit> for LimitLabels {
    fn from(limit: Limit) -> Self {
        Self { limit: limit.name() }
    }
}

/// One series per rating.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FeedbackLabels {
    rating: &'static str,
}

impl From<Rating> for FeedbackLabels {
    fn from(rating: Rating) -> Self {
        let rating = match rating {
            Rating::Up => "up",
            Rating::Down => "down",
        };
        Self { rating }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("postern_relay");
        let messages = Counter::default();
        registry.register(
            "messages",
            "Visitors' messages accepted, repeats included",
            messages.clone(),
        );
        let replies = Counter::default();
        registry.register("replies", "Agents' replies accepted, repeats included", replies.clone());
        let chunks = Counter::default();
        registry.register(
            "chunks",
            "Pieces of replies that were being written, repeats included",
            chunks.clone(),
        );
        let dead_letters = Counter::default();
        registry.register("dead_letters", "Messages given up", dead_letters.clone());
        let feedback = Family::default();
        registry.register(
            "feedback",
            "Ratings of replies, changed ones included",
            feedback.clone(),
        );
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let connections = Gauge::default();
        registry.register("connections", "Connections open", connections.clone());
        let connections_refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections closed at once, since there were too many",
            connections_refused.clone(),
        );
        let limits_reached = Family::default();
        registry.register("limits_reached", "Requests refused by a limit", limits_reached.clone());
        let budgets_spent = Family::default();
        registry.register(
            "budgets_spent",
            "Days on which a site's budget of messages was spent",
            budgets_spent.clone(),
        );
        let event_streams = Gauge::default();
        registry.register("event_streams", "Event streams open", event_streams.clone());
        let lease_calls_held = Gauge::default();
        registry.register(
            "lease_calls_held",
            "Pollers' calls that wait for a message",
            lease_calls_held.clone(),
        );
        let last_poll = Gauge::default();
        registry.register_with_unit(
            "last_poll_timestamp",
            "When a poller last asked for messages; 0 before the first",
            Unit::Seconds,
            last_poll.clone(),
        );
        let host_connected = Family::default();
        registry.register(
            "host_connected",
            "1 while the agent's host calls, 0 when it is away",
            host_connected.clone(),
        );
        let open_messages = Gauge::default();
        registry.register("open_messages", "Messages that want an answer", open_messages.clone());
        let oldest_age = Gauge::default();
        registry.register_with_unit(
            "oldest_open_message_age",
            "How long the oldest of them has waited",
            Unit::Seconds,
            oldest_age.clone(),
        );
        Self {
            messages,
            replies,
            chunks,
            dead_letters,
            feedback,
            requests,
            limits_reached,
            budgets_spent,
            connections,
            connections_refused,
            event_streams,
            lease_calls_held,
            last_poll,
            host_connected,
            open_messages,
            oldest_age,
            registry: Arc::new(registry),
        }
    }

    /// Whether a site's agent has its host there.
    pub(crate) fn host_connected(&self, site: &SiteId) -> Gauge {
        self.host_connected.get_or_create_owned(&SiteLabels { site: site.to_string() })
    }

    /// The days on which a site's budget was spent.
    pub(crate) fn budgets_spent(&self, site: &SiteId) -> Counter {
        self.budgets_spent.get_or_create_owned(&SiteLabels { site: site.to_string() })
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn render(&self, inbox: Inbox, now: Now) -> String {
        self.open_messages.set(i64::try_from(inbox.open).unwrap_or(i64::MAX));
        let age_ms = inbox.oldest.map_or(0, |oldest| now.wall_ms - oldest.as_millisecond());
        self.oldest_age.set(age_ms.max(0) as f64 / 1_000.0);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held(Gauge);

impl Held {
    pub(crate) fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
