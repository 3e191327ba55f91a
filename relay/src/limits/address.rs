//! What one address may ask for, counted in memory by the generic cell rate algorithm: as much as the
//! limit says at once, and then one each time that a part of the window has passed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{AddressLimits, Exceeded, HOUR, Limit, MINUTE, SiteLimits};

/// How many addresses one limit tells apart. Beyond, those that are near each other count as one, so
/// that whoever has many addresses fills no memory with them.
const MAX_APART: usize = 100_000;

/// The part of an address that is told apart in a crowd.
const CROWDED_IPV4: u32 = !0 << 16;
const CROWDED_IPV6: u128 = !0 << 96;

/// The limits of addresses, and what each has used of them.
#[derive(Debug)]
pub(crate) struct Addresses<C: Clock = DefaultClock> {
    messages: [Rate<C>; 2],
    sessions: Rate<C>,
    failures: Rate<C>,
    calls: Rate<C>,
}

/// What a visitor's call may take: as much as its site and its address have left.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// The limits of its site.
    pub(crate) site: SiteLimits,
    /// Whether the work was not shown that the site asks for before a session is opened.
    pub(crate) needs_proof: bool,
    address: Option<(Arc<Addresses>, IpAddr)>,
}

#[derive(Debug)]
struct Rate<C: Clock> {
    limit: Limit,
    quota: u32,
    window: Duration,
    limiter: Option<Limiter<C>>,
}

type Limiter<C> =
    RateLimiter<IpAddr, DashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl Addresses {
    pub(crate) fn new(limits: &AddressLimits) -> Self {
        Self::with_clock(limits, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Addresses<C> {
    fn with_clock(limits: &AddressLimits, clock: &C) -> Self {
        use Limit::{
            AddressCallsPerMinute, AddressFailuresPerMinute, AddressMessagesPerHour,
            AddressMessagesPerMinute, AddressSessionsPerHour,
        };
        let rate = |limit, quota, window| Rate::new(limit, quota, window, clock.clone());
        Self {
            messages: [
                rate(AddressMessagesPerMinute, limits.address_messages_per_minute, MINUTE),
                rate(AddressMessagesPerHour, limits.address_messages_per_hour, HOUR),
            ],
            sessions: rate(AddressSessionsPerHour, limits.address_sessions_per_hour, HOUR),
            failures: rate(AddressFailuresPerMinute, limits.address_failures_per_minute, MINUTE),
            calls: rate(AddressCallsPerMinute, limits.address_calls_per_minute, MINUTE),
        }
    }
}

impl<C: Clock> Addresses<C> {
    pub(crate) fn take_message(&self, network: IpAddr) -> Result<(), Exceeded> {
        self.messages.iter().try_for_each(|rate| rate.take(network))
    }

    pub(crate) fn take_session(&self, network: IpAddr) -> Result<(), Exceeded> {
        self.sessions.take(network)
    }

    pub(crate) fn take_failure(&self, network: IpAddr) -> Result<(), Exceeded> {
        self.failures.take(network)
    }

    pub(crate) fn take_call(&self, network: IpAddr) -> Result<(), Exceeded> {
        self.calls.take(network)
    }

    /// Forgets the addresses that have all of their allowance again.
    fn forget_rested(&self) {
        let others = [&self.sessions, &self.failures, &self.calls];
        for limiter in self.messages.iter().chain(others).filter_map(|rate| rate.limiter.as_ref()) {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

impl Allowance {
    /// What the visitors of a site have left.
    pub fn of_site(site: SiteLimits) -> Self {
        Self { site, needs_proof: false, address: None }
    }

    /// Whether a session may only be opened once the work is shown.
    pub(crate) fn needing_proof(self, needs_proof: bool) -> Self {
        Self { needs_proof, ..self }
    }

    /// And what an address has left.
    pub(crate) fn and_of_address(self, addresses: Arc<Addresses>, network: IpAddr) -> Self {
        Self { address: Some((addresses, network)), ..self }
    }

    pub(crate) fn take_message(&self) -> Result<(), Exceeded> {
        self.address
            .as_ref()
            .map_or(Ok(()), |(addresses, network)| addresses.take_message(*network))
    }

    pub(crate) fn take_session(&self) -> Result<(), Exceeded> {
        self.address
            .as_ref()
            .map_or(Ok(()), |(addresses, network)| addresses.take_session(*network))
    }
}

impl<C: Clock> Rate<C> {
    fn new(limit: Limit, quota: u32, window: Duration, clock: C) -> Self {
        let burst = NonZeroU32::new(quota);
        let limiter = burst.and_then(|burst| {
            let quota = Quota::with_period(window / quota)?.allow_burst(burst);
            Some(RateLimiter::dashmap_with_clock(quota, clock))
        });
        Self { limit, quota, window, limiter }
    }

    fn take(&self, network: IpAddr) -> Result<(), Exceeded> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let is_crowded = limiter.len() >= MAX_APART;
        let counted = if is_crowded { neighbourhood(network) } else { network };
        limiter.check_key(&counted).map_err(|refused| Exceeded {
            limit: self.limit,
            quota: self.quota,
            window: Some(self.window),
            retry_after: refused.wait_time_from(limiter.clock().now()),
        })
    }
}

fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & CROWDED_IPV4).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & CROWDED_IPV6).into(),
    }
}

/// Forgets addresses every minute, until cancelled.
pub(crate) async fn forget_rested(addresses: Arc<Addresses>, cancelled: CancellationToken) {
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = time::sleep(MINUTE) => addresses.forget_rested(),
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn addresses(limits: AddressLimits) -> (Addresses<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Addresses::with_clock(&limits, &clock), clock)
    }

    fn network(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// How many are let through at one moment.
    fn let_through(take: impl Fn() -> Result<(), Exceeded>) -> u32 {
        (0..2_000).take_while(|_| take().is_ok()).count() as u32
    }

    #[test]
    fn each_limit_holds_at_its_number_and_opens_again() {
        let (addresses, clock) = addresses(AddressLimits::DEFAULT);
        let it = network(1);
        assert_eq!(let_through(|| addresses.take_message(it)), 60);
        assert_eq!(let_through(|| addresses.take_session(it)), 20);
        assert_eq!(let_through(|| addresses.take_failure(it)), 10);
        assert_eq!(let_through(|| addresses.take_call(it)), 600);
        let refused = addresses.take_session(it).unwrap_err();
        assert_eq!((refused.limit, refused.quota), (Limit::AddressSessionsPerHour, 20));
        assert_eq!(refused.retry_after, HOUR / 20);
        clock.advance(refused.retry_after);
        assert_eq!(let_through(|| addresses.take_session(it)), 1);
        assert_eq!(let_through(|| addresses.take_message(it)), 60);
        assert_eq!(let_through(|| addresses.take_message(network(2))), 60);
    }

    #[test]
    fn an_hours_messages_hold_though_each_minutes_would_allow_more() {
        let (addresses, clock) = addresses(AddressLimits::DEFAULT);
        let mut sent = 0;
        for _ in 0..30 {
            sent += let_through(|| addresses.take_message(network(1)));
            clock.advance(MINUTE);
        }
        // The burst of an hour's, and what half an hour brings.
        assert!((1_000..=1_500).contains(&sent), "{sent}");
        let refused = (0..60).find_map(|_| addresses.take_message(network(1)).err()).unwrap();
        assert_eq!(refused.limit, Limit::AddressMessagesPerHour);
    }

    #[test]
    fn a_limit_of_0_is_none() {
        let (addresses, _) = addresses(AddressLimits::OFF);
        assert_eq!(let_through(|| addresses.take_call(network(1))), 2_000);
    }

    #[test]
    fn rested_addresses_are_forgotten_and_a_crowd_fills_no_memory() {
        let (addresses, clock) = addresses(AddressLimits::DEFAULT);
        let known = || addresses.calls.limiter.as_ref().unwrap().len();
        for n in 0..MAX_APART as u32 + 70_000 {
            let _ = addresses.take_call(Ipv4Addr::from_bits(n << 8).into());
        }
        assert!(known() <= MAX_APART + 65_536, "{}", known());
        clock.advance(MINUTE);
        addresses.forget_rested();
        assert_eq!(known(), 0);
    }
}
