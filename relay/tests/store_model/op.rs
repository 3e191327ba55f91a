//! What is asked of the store, as it is generated.

use postern_relay::store::Page;
use postern_shared::visitor::Rating;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const TEXTS: [&str; 2] = ["hi", " <b>&#039;\u{0}ü\r\n"];
/// The first is too short to open a session.
pub(crate) const KEYS: [&str; 4] =
    ["short", "a-long-enough-key", "the-next-long-key", "a-third-long-key"];
/// So few and short that what is known comes again by chance, and that offsets lie within them.
pub(crate) const PIECES: [&str; 4] = ["ü", "aü", "b", ""];

/// One thing to ask of the store. Numbers pick among the sessions, messages, leases and calls that
/// are there by then.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Accept(Say),
    Cancel { message: Which, token: Token },
    Rate(Rate),
    Upload(Upload),
    SweepFiles { older_than_ms: i64 },
    Reply(Answer),
    Again { call: u8, but: But },
    Lease { limit: u32, lasts_ms: i64 },
    Extend { message: Which, lease: Shown, lasts_ms: i64 },
    Nack { message: Which, lease: Shown, retry_ms: i64, dead_letter: bool },
    Chunk { message: Which, lease: Shown, piece: Piece, read: bool },
    Requeue(Which),
    Drop(Which),
    Sweep { at_deadline: bool },
    Time(Time),
    Reopen,
    Read(Look),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Say {
    pub(crate) to: To,
    pub(crate) token: Token,
    pub(crate) key: Option<u8>,
    pub(crate) text: usize,
    pub(crate) metadata: u8,
    /// How many of the files that wait go with it, at most.
    pub(crate) files: usize,
}

/// A file that is sent to a session, to go with one of its entries later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upload {
    pub(crate) session: u8,
    pub(crate) by_agent: bool,
    pub(crate) key: Option<u8>,
    pub(crate) content: u8,
}

/// What a visitor thinks of an entry, mostly of a reply; without a rating it is taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) reply: Replied,
    pub(crate) token: Token,
    pub(crate) rating: Option<Rating>,
    pub(crate) comments: bool,
}

/// An agent's reply, or any entry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Replied {
    Reply(u8),
    Any(u8),
}

/// A reply to a message's own session, unless it goes `astray`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) to: Option<Which>,
    pub(crate) astray: Option<To>,
    pub(crate) lease: Shown,
    pub(crate) key: Option<u8>,
    pub(crate) text: usize,
    pub(crate) stopped: bool,
    /// How many quick replies it offers.
    pub(crate) offers: u8,
    /// How many of the files that wait go with it, at most.
    pub(crate) files: usize,
}

/// How a call that is made again differs from the first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum But {
    InNothing,
    InText,
    Stopped,
    InOffers,
}

/// A piece of a reply; one that `repeats` begins with what is known from there on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) begin: Begin,
    pub(crate) repeats: bool,
    pub(crate) text: usize,
    pub(crate) progress: Option<u8>,
}

/// Where a piece begins in what is known of the reply.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin {
    AtEnd,
    Within(u8),
    Beyond(u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) session: u8,
    pub(crate) position: u8,
    pub(crate) page: Page,
    pub(crate) replies_only: bool,
}

/// Both clocks go on, until the next deadline or just before it at most; or the host's clock jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Time {
    Passes(i64),
    PassesUntilDeadline { short_by_ms: i64 },
    Jumps(i64),
}

/// A session: one that the relay names, one that the caller names, or one that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Fresh,
    Named(u8),
    Known(u8),
}

/// A token: none, one of the session's own, anybody's, or one that was never given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    None,
    Own(u8),
    Any(u8),
    MadeUp,
}

/// A message: a leased one, an open one, a dead letter, or any id up to the first that is not taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    Leased(u8),
    Open(u8),
    DeadLetter(u8),
    Any(u8),
}

/// A lease: the message's latest, any that was ever given, one that never was, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown {
    Held,
    Earlier(u8),
    MadeUp,
    None,
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        14 => of_a_visitor(),
        39 => of_a_poller(),
        4 => which(1, 1, 5).prop_map(Op::Requeue),
        1 => which(1, 1, 5).prop_map(Op::Drop),
        4 => any::<bool>().prop_map(|at_deadline| Op::Sweep { at_deadline }),
        5 => time().prop_map(Op::Time),
        1 => Just(Op::Reopen),
        3 => look().prop_map(Op::Read),
    ]
}

fn of_a_visitor() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => say().prop_map(Op::Accept),
        6 => (which(4, 3, 1), token()).prop_map(|(message, token)| Op::Cancel { message, token }),
        3 => rate().prop_map(Op::Rate),
        4 => upload().prop_map(Op::Upload),
        1 => select(vec![0, 1_000, 61_000]).prop_map(|older_than_ms| Op::SweepFiles { older_than_ms }),
    ]
}

fn of_a_poller() -> impl Strategy<Value = Op> {
    let lasts_ms = || select(vec![1_000, 5_000, 60_000, 3_600_000]);
    let retry_ms = select(vec![0, 1_000, 120_000]);
    let dead_letter = prop::bool::weighted(0.4);
    let held = || which(5, 1, 1);
    prop_oneof![
        8 => (1..=4_u32, lasts_ms()).prop_map(|(limit, lasts_ms)| Op::Lease { limit, lasts_ms }),
        3 => (held(), shown(), lasts_ms())
            .prop_map(|(message, lease, lasts_ms)| Op::Extend { message, lease, lasts_ms }),
        4 => (held(), shown(), retry_ms, dead_letter).prop_map(
            |(message, lease, retry_ms, dead_letter)| Op::Nack {
                message, lease, retry_ms, dead_letter,
            }),
        14 => (held(), shown(), piece(), prop::bool::weighted(0.7))
            .prop_map(|(message, lease, piece, read)| Op::Chunk { message, lease, piece, read }),
        4 => answer().prop_map(Op::Reply),
        6 => (any::<u8>(), but()).prop_map(|(call, but)| Op::Again { call, but }),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        2 => select(vec![1, 999, 61_000, 4_000_000]).prop_map(Time::Passes),
        3 => (0..=1_i64).prop_map(|short_by_ms| Time::PassesUntilDeadline { short_by_ms }),
        1 => select(vec![-3_600_000, -1_000, 1_000, 3_600_000]).prop_map(Time::Jumps),
    ]
}

prop_compose! {
    fn say()(to in to(), token in token(), key in key(), text in 0..2_usize, metadata in 0..3_u8,
             files in 0..3_usize) -> Say {
        Say { to, token, key, text, metadata, files }
    }
}

prop_compose! {
    fn upload()(session in any::<u8>(), by_agent in any::<bool>(), key in key(), content in 0..3_u8)
        -> Upload {
        Upload { session, by_agent, key, content }
    }
}

prop_compose! {
    fn rate()(reply in replied(), token in token(), comments in any::<bool>(),
              rating in weighted(0.8, select(vec![Rating::Up, Rating::Down]))) -> Rate {
        Rate { reply, token, rating, comments }
    }
}

prop_compose! {
    fn answer()(to in weighted(0.9, which(5, 1, 1)), astray in weighted(0.2, to()),
                lease in prop_oneof![9 => shown(), 2 => Just(Shown::None)],
                key in key(), text in 0..2_usize, stopped in prop::bool::weighted(0.2),
                offers in 0..3_u8, files in 0..3_usize)
        -> Answer {
        Answer { to, astray, lease, key, text, stopped, offers, files }
    }
}

prop_compose! {
    fn piece()(begin in begin(), repeats in prop::bool::weighted(0.3), text in 0..4_usize,
               progress in weighted(0.3, 0..2_u8)) -> Piece {
        Piece { begin, repeats, text, progress }
    }
}

prop_compose! {
    fn look()(session in any::<u8>(), position in any::<u8>(), limit in 1..=4_u32,
              offset in 0..=4_u64, replies_only in any::<bool>()) -> Look {
        Look { session, position, page: Page { limit, offset }, replies_only }
    }
}

fn begin() -> impl Strategy<Value = Begin> {
    let within = any::<u8>().prop_map(Begin::Within);
    prop_oneof![3 => Just(Begin::AtEnd), 5 => within, 1 => (1..3_u8).prop_map(Begin::Beyond)]
}

fn but() -> impl Strategy<Value = But> {
    prop_oneof![2 => Just(But::InNothing), 1 => Just(But::InText), 1 => Just(But::Stopped),
        1 => Just(But::InOffers)]
}

fn key() -> impl Strategy<Value = Option<u8>> {
    weighted(0.5, 0..4_u8)
}

fn to() -> impl Strategy<Value = To> {
    let known = (0..8_u8).prop_map(To::Known);
    prop_oneof![6 => known, 1 => Just(To::Fresh), 1 => (0..3_u8).prop_map(To::Named)]
}

fn token() -> impl Strategy<Value = Token> {
    let (own, any) = ((0..4_u8).prop_map(Token::Own), any::<u8>().prop_map(Token::Any));
    prop_oneof![8 => own, 2 => any, 1 => Just(Token::None), 1 => Just(Token::MadeUp)]
}

fn which(leased: u32, open: u32, dead_letter: u32) -> impl Strategy<Value = Which> {
    prop_oneof![
        leased => (0..6_u8).prop_map(Which::Leased),
        open => any::<u8>().prop_map(Which::Open),
        dead_letter => (0..6_u8).prop_map(Which::DeadLetter),
        1 => any::<u8>().prop_map(Which::Any),
    ]
}

fn replied() -> impl Strategy<Value = Replied> {
    let any_entry = any::<u8>().prop_map(Replied::Any);
    prop_oneof![5 => (0..6_u8).prop_map(Replied::Reply), 1 => any_entry]
}

fn shown() -> impl Strategy<Value = Shown> {
    let earlier = any::<u8>().prop_map(Shown::Earlier);
    prop_oneof![7 => Just(Shown::Held), 1 => earlier, 1 => Just(Shown::MadeUp)]
}
