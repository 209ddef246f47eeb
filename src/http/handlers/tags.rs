//! `/v2/<name>/tags/list` (distribution-spec, Listing Tags).

use super::{Call, Reply};
use crate::http::fault::Fault;
use crate::oci::RepositoryName;
use axum::response::Response;
use http::StatusCode;
use http::header::LINK;
use serde_json::json;

pub(in crate::http) async fn answer(call: &Call, repository: &RepositoryName) -> Result<Response, Fault> {
    let permit = call.permit(repository)?;
    let wanted = call.query.page()?;
    let page = call
        .app
        .registry
        .tags(&permit, wanted.after, wanted.limit)
        .await?;
    let path = format!("/v2/{repository}/tags/list");
    let next = page
        .entries
        .last()
        .filter(|_| page.more)
        .map(|last| wanted.next(&path, last));
    Ok(Reply::new(StatusCode::OK)
        .header_if(LINK, next)
        .json(&json!({"name": repository.as_str(), "tags": page.entries})))
}
