//! Origins: no pattern takes a page of another host. A line each, the pattern first.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_relay::origins::{OriginPattern, Origins};
use reqwest::Url;

fuzz_target!(|text: &str| {
    let (pattern, origin) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(read) = pattern.parse::<OriginPattern>() else { return };
    let written = read.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&read));
    let is_wildcard = written.contains("://*.");
    let base = written.replacen("://*.", "://", 1);
    // The word of another reader, and the one that browsers go by. What is written as a name in another
    // alphabet may be none; no browser is there.
    let (Ok(base), Ok(page)) = (Url::parse(&base), Url::parse(origin)) else { return };
    if is_wildcard {
        assert!(base.domain().is_some(), "no host is below an address: {written}");
    }
    if Origins::only(vec![read]).allow(origin) {
        assert_eq!(place(&page), place(&base));
        assert!(is_of(host(&page), host(&base), is_wildcard), "{page} by {written}");
        assert!(page.path().len() <= 1 && page.username().is_empty());
    }
});

fn is_of(host: &str, base: &str, is_wildcard: bool) -> bool {
    match host.strip_suffix(base) {
        Some(labels) if is_wildcard => labels.len() > 1 && labels.ends_with('.'),
        Some(labels) => labels.is_empty(),
        None => false,
    }
}

fn place(url: &Url) -> (&str, Option<u16>) {
    (url.scheme(), url.port_or_known_default())
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}
