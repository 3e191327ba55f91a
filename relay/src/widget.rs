//! The widget's files as they were built into this binary, and the line that puts them on a page.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_shared::SiteId;
use sha2::{Digest, Sha256, Sha384};

pub(crate) static SCRIPT: LazyLock<WidgetFile> =
    LazyLock::new(|| WidgetFile::script(include_bytes!("../../widget/dist/widget.js")));
pub(crate) static MODULE: LazyLock<WidgetFile> =
    LazyLock::new(|| WidgetFile::script(include_bytes!("../../widget/dist/widget.mjs")));

/// The words of the widget's languages by the names of their files. They have one version, so that
/// the script need know only that.
pub(crate) static TEXTS: LazyLock<BTreeMap<&str, WidgetFile>> = LazyLock::new(|| {
    let version = version(&LANGUAGES.map(|(_, body)| body).concat());
    let file = |body| WidgetFile { body, media_type: "application/json", version: version.clone() };
    LANGUAGES.into_iter().map(|(name, body)| (name, file(body))).collect()
});

const LANGUAGES: [(&str, &[u8]); 7] = [
    ("ar.json", include_bytes!("../../widget/dist/texts/ar.json")),
    ("de.json", include_bytes!("../../widget/dist/texts/de.json")),
    ("es.json", include_bytes!("../../widget/dist/texts/es.json")),
    ("fr.json", include_bytes!("../../widget/dist/texts/fr.json")),
    ("ja.json", include_bytes!("../../widget/dist/texts/ja.json")),
    ("pt.json", include_bytes!("../../widget/dist/texts/pt.json")),
    ("zh.json", include_bytes!("../../widget/dist/texts/zh.json")),
];

pub(crate) struct WidgetFile {
    pub(crate) body: &'static [u8],
    pub(crate) media_type: &'static str,
    /// Changes with the file.
    pub(crate) version: String,
}

impl WidgetFile {
    fn script(body: &'static [u8]) -> Self {
        Self { body, media_type: "text/javascript; charset=utf-8", version: version(body) }
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
