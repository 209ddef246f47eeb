//! `/v2/<name>/referrers/<digest>` (distribution-spec, Listing Referrers): an index of the manifests that
//! have this one as their subject. It is empty if there are none.

use super::{Call, OCI_FILTERS_APPLIED, Reply};
use crate::http::fault::Fault;
use crate::http::query::link;
use crate::oci::{Digest, ManifestType, RepositoryName};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};

pub(in crate::http) async fn answer(
    call: &Call,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response, Fault> {
    let permit = &call.permit(repository)?;
    let artifact_type = call.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let after: &Option<Digest> = &call.query.get("last").map(str::parse).transpose()?;
    let read = move || async move {
        let page = call
            .app
            .registry
            .referrers(permit, subject, artifact_type, after.as_ref())
            .await?;
        let next = page.next.as_ref().map(|last| {
            let filter = artifact_type.map(|wanted| ("artifactType", wanted));
            link(
                &format!("/v2/{repository}/referrers/{subject}"),
                [Some(("last", last.as_str())), filter].into_iter().flatten(),
            )
        });
        Ok((Bytes::from(page.index()), (next, page.unreadable)))
    };
    let (index, (next, unreadable)) = call.in_memory(read().await?, read).await?;
    let warning = (unreadable > 0).then(|| {
        format!("{unreadable} referrers cannot be read and are left out: the registry's log names them")
    });
    Ok(Reply::new(StatusCode::OK)
        .header(CONTENT_TYPE, ManifestType::OciIndex.as_str())
        .header_if(OCI_FILTERS_APPLIED, artifact_type.map(|_| "artifactType"))
        .header_if(LINK, next)
        .warning(warning)
        .body(index))
}
