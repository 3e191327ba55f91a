//! `docs/openapi.yaml` tells of every call, every field and every error, and of nothing else. Whether the
//! relay answers as it says there, schemathesis finds out (`tests/schemathesis`).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use postern_shared::ErrorType;
use postern_shared::files::{File, FileStored, OpenSession, SessionOpened};
use postern_shared::operator::*;
use postern_shared::poller::*;
use postern_shared::proof::{Challenge, Proof};
use postern_shared::visitor::*;
use postern_tests::{Answer, TestRelay};
use reqwest::{Method, StatusCode};
use serde_aux::serde_introspection::serde_introspect;
use serde_json::Value;

type Success = postern_shared::Success<Value>;
type Failure = postern_shared::Failure;
type Names = BTreeSet<String>;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../docs/openapi.yaml")).expect("a document in YAML")
});

/// Types of the wire with the names of their fields or variants.
macro_rules! wire {
    ($($name:ident)*) => { [$((stringify!($name), names(serde_introspect::<$name>()))),*] };
}

fn names(found: &[&str]) -> Names {
    found.iter().map(ToString::to_string).collect()
}

fn keys(object: &Value) -> Names {
    object.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
}

fn texts(list: &Value) -> Names {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

/// What a reference names, or the value itself.
fn resolved(value: &'static Value) -> &'static Value {
    let reference = value["$ref"].as_str().and_then(|found| found.strip_prefix('#'));
    reference.map_or(value, |pointer| DOCUMENT.pointer(pointer).expect(pointer))
}

/// The fields of an object's schema, those of its parts among them.
fn fields(schema: &'static Value) -> Names {
    let schema = resolved(schema);
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(fields);
    keys(&schema["properties"]).into_iter().chain(parts).collect()
}

#[test]
fn bodies_have_the_fields_of_the_types_that_the_relay_speaks_through() {
    let wire = wire![
        Success Failure Challenge PostMessage Proof MessageAccepted OpenSession SessionOpened SessionRevoked Cancelled
        GiveFeedback FeedbackTaken Responses Transcript Entry File FileStored Chunk Status
        LeaseRequest Leased LeasedMessage OpenMessage Identity ExtendRequest Extended PostChunk
        ChunkTaken NackRequest Nacked PostReply ReplyStored Inbox Pagination
        Sessions Session Ratings SessionDetail DeadLetters DeadLetter DeadLetterDetail Requeued Dropped
        Health
    ];
    let schemas = &DOCUMENT["components"]["schemas"];
    for (name, found) in &wire {
        assert_eq!(&fields(&schemas[*name]), found, "{name}");
    }
    let objects = keys(schemas).into_iter().filter(|name| !fields(&schemas[name]).is_empty());
    assert_eq!(objects.collect::<Names>(), wire.map(|(name, _)| name.to_owned()).into());
}

#[test]
fn words_are_those_of_the_types_that_the_relay_speaks_through() {
    for (name, found) in wire![Rating Role Host MessageState IdentityState] {
        assert_eq!(texts(&DOCUMENT["components"]["schemas"][name]["enum"]), found, "{name}");
    }
}

#[test]
fn every_error_type_is_told_and_told_of_some_call() {
    let mut types = names(serde_introspect::<ErrorType>());
    types.remove("unknown");
    assert_eq!(texts(&DOCUMENT["components"]["schemas"]["ErrorType"]["enum"]), types);
    let responses = DOCUMENT["components"]["responses"].as_object().unwrap().values();
    let told = responses.flat_map(|response| {
        let parts = &response["content"]["application/json"]["schema"]["allOf"];
        texts(&parts[1]["properties"]["type"]["enum"])
    });
    let mut told: Names = told.collect();
    told.insert("method_not_allowed".into());
    assert_eq!(told, types);
}

/// The paths in the router's source, which alone knows all of them.
fn routed() -> Names {
    let sources =
        [include_str!("../../relay/src/http.rs"), include_str!("../../relay/src/http/assets.rs")];
    let routes = sources.iter().flat_map(|source| source.split(".route(").skip(1));
    routes.map(|route| route.split('"').nth(1).expect("a path").to_owned()).collect()
}

fn documented() -> Names {
    keys(&DOCUMENT["paths"])
}

#[test]
fn every_path_of_the_router_is_told_and_no_other() {
    // The unversioned paths of older programs do what the versioned ones do.
    let versioned = |path: String| match path.strip_prefix("/api/") {
        Some(call) => format!("/api/v1/{}", call.trim_start_matches("v1/")),
        None => path,
    };
    assert_eq!(routed().into_iter().map(versioned).collect::<Names>(), documented());
}

#[tokio::test]
async fn a_path_takes_the_methods_that_are_told_and_no_others() {
    let relay = TestRelay::start().await;
    for path in documented() {
        let of_root = format!("/{}", path.replace(['{', '}'], ""));
        let request = relay.stranger_calls().request(Method::PATCH, &of_root);
        let refused = Answer::to(request).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers["allow"].to_str().unwrap().to_lowercase();
        let mut told = keys(&DOCUMENT["paths"][&path]);
        told.remove("parameters");
        if told.contains("get") {
            told.insert("head".into());
        }
        assert_eq!(told, allowed.split(',').map(str::to_owned).collect(), "{path}");
    }
}
