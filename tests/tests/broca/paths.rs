//! The one path of every call: under any prefix, with a slash at its end or `index.php` or nothing, and
//! never by way of another address.

use postern_tests::{API_KEY, TestRelay};
use reqwest::StatusCode;

use crate::support::{Connection, LONG, Widget, relay};

#[tokio::test]
async fn every_spelling_of_the_address_answers_alike() {
    let relay = relay(LONG);
    Widget::open(&relay).await.say("hi").await;
    let mut connection = Connection::open(&relay, "").await;
    let headers = format!("Authorization: Bearer {API_KEY}\r\nAccept-Encoding: gzip, deflate\r\n");
    for prefix in ["", "/", "/chat", "/some/where/else", "/api", "/api/v1", "/b%C3%BCro"] {
        for path in ["/api/v1", "/api/v1/", "/api/v1/index.php"] {
            let path = format!("{prefix}{path}?action=inbox&limit=1&offset=0");
            connection.send("GET", &path, &headers, "").await;
            let found = connection.answer().await.data();
            assert_eq!(found["messages"][0]["message"], "hi", "{path}");
        }
    }
}

#[tokio::test]
async fn other_paths_are_nothing_still() {
    let relay = relay(LONG);
    let mut connection = Connection::open(&relay, "").await;
    for path in ["/", "/api/v2/", "/api/v1/admin.php", "/index.php", "/myapi/v1x/", "/x/api/v1/y"] {
        connection.send("GET", &format!("{path}?action=inbox"), "", "").await;
        assert_eq!(connection.answer().await.refusal(), (404, "not_found".into()), "{path}");
    }
}

#[tokio::test]
async fn a_relay_that_was_not_told_serves_nothing_of_it() {
    let relay = TestRelay::start().await;
    let mut connection = Connection::open(&relay, "").await;
    for path in ["/api/v1/", "/api/v1/index.php", "/chat/api/v1/"] {
        let headers = format!("Authorization: Bearer {API_KEY}\r\n");
        connection.send("GET", &format!("{path}?action=inbox"), &headers, "").await;
        assert_eq!(connection.answer().await.refusal(), (404, "not_found".into()), "{path}");
    }
}

#[tokio::test]
async fn a_page_of_any_origin_may_call_what_is_for_pages_and_nothing_else() {
    let relay = relay(LONG);
    let calls = relay.stranger_calls();
    let preflight = async |query: &str| {
        let request = calls.request(reqwest::Method::OPTIONS, &format!("//chat/api/v1/?{query}"));
        let request = request.header("origin", "https://page.example");
        let request = request.header("access-control-request-method", "POST");
        postern_tests::Answer::to(request.header("access-control-request-headers", "content-type"))
            .await
    };
    let allowed = preflight("action=messages").await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://page.example");
    let private = preflight("action=inbox").await;
    assert!(!private.headers.contains_key("access-control-allow-origin"));
}
