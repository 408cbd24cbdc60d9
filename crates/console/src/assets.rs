//! Scripts, styles and the icon, inside the binary. Their names have a hash of their content, so browsers keep them for good.

use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

pub struct Asset {
    stem: &'static str,
    pub name: String,
    kind: &'static str,
    content: Vec<u8>,
    zipped: Vec<u8>,
}

macro_rules! assets {
    ($($stem:literal $extension:literal $kind:expr, $($part:literal)*;)*) => {
        static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| vec![$(
            asset($stem, $extension, $kind, concat!($(include_str!(concat!("../assets/", $part)), "\n"),*)),
        )*]);
    };
}

// All scripts are one file: htmx begins by itself as soon as the browser has a moment, and a page whose extension for streams
// came later than that would stand still.
assets! {
    "console" "js" JAVASCRIPT, "htmx.min.js" "hx-csp.min.js" "hx-sse.min.js" "uPlot.iife.min.js" "console.js";
    "console" "css" CSS, "uPlot.min.css" "console.css";
    "icon" "svg" "image/svg+xml", "icon.svg";
}

fn asset(stem: &'static str, extension: &str, kind: &'static str, content: &str) -> Asset {
    let hash = Sha256::digest(content);
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let mut zip = GzEncoder::new(Vec::new(), Compression::best());
    let written = zip.write_all(content.as_bytes()).and_then(|()| zip.finish());
    Asset {
        stem,
        name: format!("{stem}.{hash}.{extension}"),
        kind,
        content: content.into(),
        zipped: written.expect("memory takes every write"),
    }
}

/// The name of a file with its hash.
pub fn name(stem: &str, extension: &str) -> &'static str {
    let found = ASSETS
        .iter()
        .find(|asset| asset.stem == stem && asset.name.ends_with(extension));
    &found.expect("the page names an asset that exists").name
}

pub async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let takes_gzip = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let common = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (VARY, "Accept-Encoding"),
    ];
    if takes_gzip {
        (common, [(CONTENT_ENCODING, "gzip")], asset.zipped.as_slice()).into_response()
    } else {
        (common, asset.content.as_slice()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_page_loads_is_small() {
        let all: usize = ASSETS.iter().map(|asset| asset.zipped.len()).sum();
        assert!(all < 70_000, "{all} bytes");
    }

    #[test]
    fn the_script_and_the_pages_have_no_code_in_attributes() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for banned in ["hx-on", "hx-vals=\"js", "onclick=", "onload=", "style=\""] {
                    let allowed = path.ends_with("assets.rs");
                    assert!(
                        allowed || !text.contains(banned),
                        "{banned} in {}",
                        path.display()
                    );
                }
                let raw = "PreEscaped";
                assert!(
                    !text.contains(raw) || path.ends_with("assets.rs") || path.ends_with("html/markup.rs"),
                    "{raw} in {}",
                    path.display()
                );
            }
        }
    }
}
