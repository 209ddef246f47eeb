//! `/v2/_catalog`: the repositories that the caller may read.

use super::{Call, Reply};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use http::header::LINK;
use serde_json::json;

pub(in crate::http) async fn answer(call: &Call) -> Result<Response, Fault> {
    if call.identity.is_anonymous() && !call.live.policy.serves_anonymous() {
        return Err(Fault::unauthenticated());
    }
    let wanted = call.query.page()?;
    let page = call
        .app
        .registry
        .catalog(&call.catalog_reader()?, wanted.after, wanted.limit)
        .await?;
    let next = page
        .entries
        .last()
        .filter(|_| page.more)
        .map(|last| wanted.next("/v2/_catalog", last));
    Ok(Reply::new(StatusCode::OK)
        .header_if(LINK, next)
        .json(&json!({"repositories": page.entries})))
}
