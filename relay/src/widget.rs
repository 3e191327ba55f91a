//! The widget's files as they were built into this binary, and the line that puts them on a page.

use std::sync::LazyLock;

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_shared::SiteId;
use sha2::{Digest, Sha256, Sha384};

pub(crate) static SCRIPT: LazyLock<WidgetFile> =
    LazyLock::new(|| WidgetFile::new(include_bytes!("../../widget/dist/widget.js")));
pub(crate) static MODULE: LazyLock<WidgetFile> =
    LazyLock::new(|| WidgetFile::new(include_bytes!("../../widget/dist/widget.mjs")));

pub(crate) struct WidgetFile {
    pub(crate) body: &'static [u8],
    /// Changes with the file; 16 hexadecimal digits.
    pub(crate) version: String,
}

impl WidgetFile {
    fn new(body: &'static [u8]) -> Self {
        let digest = Sha256::digest(body);
        Self { body, version: digest.iter().take(8).map(|b| format!("{b:02x}")).collect() }
    }
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
