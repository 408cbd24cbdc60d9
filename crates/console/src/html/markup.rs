//! The only file with markup that is not escaped. It takes constants alone.

use maud::{Markup, PreEscaped};

/// Markup that is written in our own code.
pub const fn constant(text: &'static str) -> PreEscaped<&'static str> {
    PreEscaped(text)
}

/// An icon: 16 by 16, in the colour of the text. Decoration only: a text stands beside it.
pub fn icon(name: &str) -> Markup {
    let path = match name {
        "overview" => r#"<path d="M2 9h4v5H2zM10 5h4v9h-4zM6 2h4v12H6z"/>"#,
        "tenants" => r#"<path d="M3 14V4l5-2 5 2v10zM6 6h1M9 6h1M6 9h1M9 9h1M7 14v-2h2v2"/>"#,
        "runs" => r#"<path d="M13.5 8A5.5 5.5 0 1 1 11 3.4M13.5 2v3.5H10M8 5v3l2 1.5"/>"#,
        "rejects" => r#"<path d="M8 2 14.5 13.5h-13zM8 6.5v3M8 11.5v.2"/>"#,
        "sources" => {
            r#"<path d="M13 4c0 1.1-2.2 2-5 2S3 5.100 3 4s2.200-2 5-2 5 .9 5 2zM3 4v8c0 1.100 2.200 2 5 2s5-.9 5-2V4M3 8c0 1.100 2.200 2 5 2s5-.9 5-2"/>"#
        }
        "fleet" => r#"<path d="M2 3h12v4H2zM2 9h12v4H2zM4.500 5h.1M4.500 11h.1"/>"#,
        "dead" => r#"<path d="M2 4h12v9H2zM2 4l6 5 6-5"/>"#,
        "doctor" => r#"<path d="M2 8h3l1.500-4 3 8L11 8h3"/>"#,
        "verify" => r#"<path d="M3 8.500 6.500 12 13 4.500"/>"#,
        "audit" => r#"<path d="M4 2h6l3 3v9H4zM10 2v3h3M6 8h5M6 11h5"/>"#,
        "bulk" => r#"<path d="M2 4h3v3H2zM2 9.500h3v3H2zM7.500 5.500H14M7.500 11H14"/>"#,
        "webhooks" => r#"<path d="M8 2v7M4.500 9.500a3.500 3.500 0 0 0 7 0M5.500 4.500 8 2l2.500 2.500"/>"#,
        "settings" => r#"<path d="M2 4.500h8M13 4.500h1M2 11.500h2M7 11.500h7M10 3v3M5.500 10v3"/>"#,
        "search" => r#"<path d="M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.800 10.800 14 14"/>"#,
        "menu" => r#"<path d="M2 4h12M2 8h12M2 12h12"/>"#,
        _ => r#"<path d="M8 3v10M3 8h10"/>"#,
    };
    maud::html! {
        svg.icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" { (constant(path)) }
    }
}
