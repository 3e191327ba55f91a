//! The widget's files as they were built into this binary, and the line that puts them on a page.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_shared::SiteId;
use sha2::{Digest, Sha256, Sha384};

/// A file of the widget's build, and the same gzipped, which took that build longer than a request may.
#[derive(Clone, Copy)]
struct Built {
    body: &'static [u8],
    gzipped: &'static [u8],
}

macro_rules! built {
    ($name:literal) => {
        Built {
            body: include_bytes!(concat!("../../widget/dist/", $name)),
            gzipped: include_bytes!(concat!("../../widget/dist/", $name, ".gz")),
        }
    };
}

pub(crate) static SCRIPT: LazyLock<WidgetFile> =
    LazyLock::new(|| WidgetFile::script(built!("widget.js")));
pub(crate) static MODULE: LazyLock<WidgetFile> =
    LazyLock::new(|| WidgetFile::script(built!("widget.mjs")));

/// The words of the widget's languages by the names of their files. They have one version, so that
/// the script need know only that.
pub(crate) static TEXTS: LazyLock<BTreeMap<&str, WidgetFile>> = LazyLock::new(|| {
    let version = version(&LANGUAGES.map(|(_, file)| file.body).concat());
    let file = |built| WidgetFile::new(built, "application/json", version.clone());
    LANGUAGES.into_iter().map(|(name, built)| (name, file(built))).collect()
});

const LANGUAGES: [(&str, Built); 7] = [
    ("ar.json", built!("texts/ar.json")),
    ("de.json", built!("texts/de.json")),
    ("es.json", built!("texts/es.json")),
    ("fr.json", built!("texts/fr.json")),
    ("ja.json", built!("texts/ja.json")),
    ("pt.json", built!("texts/pt.json")),
    ("zh.json", built!("texts/zh.json")),
];

pub(crate) struct WidgetFile {
    pub(crate) body: &'static [u8],
    pub(crate) gzipped: &'static [u8],
    pub(crate) media_type: &'static str,
    /// Changes with the file.
    pub(crate) version: String,
}

impl WidgetFile {
    fn script(built: Built) -> Self {
        Self::new(built, "text/javascript; charset=utf-8", version(built.body))
    }

    fn new(Built { body, gzipped }: Built, media_type: &'static str, version: String) -> Self {
        Self { body, gzipped, media_type, version }
    }
}

/// 16 hexadecimal digits.
fn version(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// The script line of a page, for this very version of the widget: a browser runs nothing else in
/// its place.
pub fn script_line(relay: &Uri, site: Option<&SiteId>) -> String {
    let relay = relay.to_string();
    let relay = relay.trim_end_matches('/');
    let version = &SCRIPT.version;
    let hash = STANDARD.encode(Sha384::digest(SCRIPT.body));
    let site = site.map(|site| format!(" data-site=\"{site}\"")).unwrap_or_default();
    format!(
        "<script src=\"{relay}/widget.js?v={version}\" integrity=\"sha384-{hash}\" \
         crossorigin=\"anonymous\"{site} async></script>"
    )
}
