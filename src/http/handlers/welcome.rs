//! `/`: the page for people who open the registry in a browser. It needs no credential and reveals nothing
//! that `/v2/` does not.

use super::{Reply, Unidentified};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

pub(in crate::http) fn answer(request: &Unidentified<'_>) -> Result<Response, Fault> {
    let browser = request
        .parts
        .headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|types| types.contains("text/html")));
    let (media_type, page, host) = if browser {
        (
            "text/html; charset=utf-8",
            include_str!("welcome.html"),
            escaped(request.origin.authority()),
        )
    } else {
        (
            "text/plain; charset=utf-8",
            include_str!("welcome.txt"),
            request.origin.authority().to_owned(),
        )
    };
    Ok(Reply::new(StatusCode::OK)
        .header(CONTENT_TYPE, media_type)
        .header(CACHE_CONTROL, "no-store")
        .header(VARY, "accept")
        .header(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(X_FRAME_OPTIONS, "DENY")
        .header(REFERRER_POLICY, "no-referrer")
        .body(page.replace("HOST", &host)))
}

/// A host cannot have these characters, but `http.externalURL` can.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
