//! The effects of requests, and their answers.

mod listing;
mod multipart;
mod objects;

use super::bucket::{Bucket, Manner};
use super::conditions::writes;
use super::operation::{Call, Operation};
use super::refusal::Refusal;
use super::rules::{Listing, Rules};
use bytes::Bytes;
use http::Response;

pub(super) fn apply(bucket: &mut Bucket, call: &Call, manner: Manner<'_>) -> Response<Bytes> {
    if manner.rules.listing == Listing::Behind && writes(call.operation) {
        bucket.before = bucket.objects.clone();
    }
    dispatch(bucket, call, manner).unwrap_or_else(|refusal| refusal.response_to(call.operation))
}

fn dispatch(bucket: &mut Bucket, call: &Call, manner: Manner<'_>) -> Result<Response<Bytes>, Refusal> {
    match call.operation {
        Operation::Put => objects::put(bucket, call, manner),
        Operation::Copy => objects::copy(bucket, call, manner),
        Operation::Get | Operation::Head => objects::get(bucket, call),
        Operation::Delete => objects::delete(bucket, call, manner),
        Operation::DeleteMany => objects::delete_many(bucket, call),
        Operation::List => listing::list(bucket, call, manner),
        Operation::CreateUpload => multipart::create(bucket, call, manner.now),
        Operation::UploadPart => multipart::put_part(bucket, call, call.body.clone(), manner.now),
        Operation::CopyPart => multipart::copy_part(bucket, call, manner.now),
        Operation::CompleteUpload => multipart::complete(bucket, call, manner),
        Operation::AbortUpload => multipart::abort(bucket, call),
        Operation::ListUploads => multipart::list(bucket, call),
        Operation::ListParts => multipart::list_parts(bucket, call),
        Operation::HeadBucket => Ok(Response::new(Bytes::new())),
        Operation::Versioning => Ok(versioning(manner.rules)),
        Operation::Lifecycle => {
            let rules = manner.rules.lifecycle.clone().ok_or(Refusal::NO_LIFECYCLE)?;
            Ok(Response::new(rules.into()))
        }
        Operation::AssumeRole | Operation::Unknown => Err(Refusal::NOT_IMPLEMENTED),
    }
}

fn versioning(rules: &Rules) -> Response<Bytes> {
    let status = if rules.versioning {
        "<Status>Enabled</Status>"
    } else {
        ""
    };
    Response::new(format!("<VersioningConfiguration>{status}</VersioningConfiguration>").into())
}
