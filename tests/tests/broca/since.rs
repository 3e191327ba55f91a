//! `since`: moments in any form, by any clock, hide no reply and bring none twice.

use crate::support::{LONG, Plugin, Widget, relay, texts};

#[tokio::test]
async fn neither_of_two_replies_in_one_second_is_hidden_or_doubled() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    widget.say("hi").await;
    plugin.fetch().await;
    let mut since = String::new();
    for number in 0..20 {
        plugin.reply(&widget.session, &number.to_string()).await;
        let replies = widget.since(&since).await;
        assert_eq!(texts(&replies[..], "response").last(), Some(&number.to_string()));
        assert_eq!(replies.len(), 1, "after {since}");
        // As it was told, with a plus that nobody encoded.
        since = texts(&replies, "timestamp").remove(0);
        assert!(since.contains('+'));
        assert!(widget.since(&since).await.is_empty(), "after {since}");
    }
    // Cut to the second or the millisecond, it may show what was seen, but hides nothing.
    let all = widget.since("").await;
    let told = texts(&all, "timestamp");
    for (index, told) in told.iter().enumerate() {
        for cut in [format!("{}+00:00", &told[..19]), format!("{}Z", &told[..23])] {
            let found = widget.since(&cut).await;
            assert!(found.len() >= all.len() - index, "{cut} hides some of {all:?}: {found:?}");
        }
    }
}

#[tokio::test]
async fn moments_are_compared_and_not_their_text() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    widget.say("hi").await;
    plugin.fetch().await;
    plugin.reply(&widget.session, "hello").await;
    for since in [
        "",
        "%20",
        "null",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00.5+00:00",
        "2020-01-01T00:00:00%2B14:00",
        "2020-01-01%2000:00:00",
        "20200101T000000Z",
    ] {
        assert_eq!(texts(&widget.since(since).await, "response"), ["hello"], "{since}");
    }
    // Half past midnight of tomorrow, far to the east, is text beyond now and a moment before it.
    let told = texts(&widget.since("").await, "timestamp").remove(0);
    let moment: postern_shared::Timestamp = told.parse().expect("a moment");
    let earlier = moment - std::time::Duration::from_secs(60);
    let east = postern_shared::Timestamp::from_second(earlier.as_second() + 14 * 3_600);
    let east = east.expect("a moment").strftime("%Y-%m-%dT%H:%M:%S+14:00").to_string();
    assert_eq!(texts(&widget.since(&east).await, "response"), ["hello"], "{east}");
}

#[tokio::test]
async fn a_visitor_whose_clock_is_off_sees_each_reply_once() {
    for ahead in [0, 3_600, -3_600, 7, -7] {
        let relay = relay(LONG);
        let mut widget = Widget::ahead(&relay, ahead).await;
        let mut plugin = Plugin::start(&relay).await;
        let mut wanted = vec![];
        for round in 0..4 {
            widget.poll().await;
            widget.say(&round.to_string()).await;
            plugin.fetch().await;
            for half in ["a", "b"] {
                let text = format!("{round}{half}");
                plugin.reply(&widget.session, &text).await;
                if round % 2 == 0 {
                    widget.poll().await;
                }
                wanted.push(text);
            }
            for _ in 0..3 {
                widget.poll().await;
            }
        }
        assert_eq!(widget.shown, wanted, "{ahead} seconds ahead");
    }
}

#[tokio::test]
async fn a_reply_that_came_while_the_one_before_was_on_its_way_is_shown() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    widget.say("hi").await;
    plugin.fetch().await;
    plugin.reply(&widget.session, "one").await;
    let first = widget.since(&widget.clock(-60)).await;
    assert_eq!(texts(&first, "response"), ["one"]);
    plugin.reply(&widget.session, "two").await;
    // The widget asks since the moment at which the first had arrived.
    let second = widget.since(&widget.clock(1)).await;
    assert_eq!(texts(&second, "response"), ["two"]);
}
