//! Which permission a rejected request needs, so that the error names the entry that the bucket's policy lacks.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>

use http::StatusCode;

/// What to add to the error of a request that was rejected with `details`. Empty if the answer says that something
/// else is wrong, such as a wrong key. `copies` is whether the request reads another object.
pub(super) fn needed(status: StatusCode, details: &str, operation: &str, copies: bool) -> String {
    // The answer to a HEAD has no details.
    let lacks = status == StatusCode::FORBIDDEN && (details.is_empty() || details.contains("AccessDenied"));
    let Some(permission) = permission(operation).filter(|_| lacks) else {
        return String::new();
    };
    let and = if copies { " and s3:GetObject" } else { "" };
    format!("; do these keys have the permission {permission}{and}?")
}

/// The permission for an operation, as Amazon names it.
fn permission(operation: &str) -> Option<&'static str> {
    Some(match operation {
        "list" => "s3:ListBucket",
        "list_uploads" => "s3:ListBucketMultipartUploads",
        "get" | "head" => "s3:GetObject",
        "put" | "put_part" | "begin_upload" | "complete_upload" => "s3:PutObject",
        "delete" => "s3:DeleteObject",
        "abort_upload" => "s3:AbortMultipartUpload",
        "get_versioning" => "s3:GetBucketVersioning",
        "get_lifecycle" => "s3:GetLifecycleConfiguration",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_permission_is_named() {
        let denied = " (AccessDenied: Access Denied.)";
        for (status, details, named) in [
            (403, denied, "; do these keys have the permission s3:ListBucket?"),
            (403, "", "; do these keys have the permission s3:ListBucket?"),
            (403, " (SignatureDoesNotMatch: …)", ""),
            (403, " (ExpiredToken: …)", ""),
            (404, " (NoSuchKey: …)", ""),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(needed(status, details, "list", false), named, "{details}");
        }
        let copy = needed(StatusCode::FORBIDDEN, denied, "put", true);
        assert_eq!(
            copy,
            "; do these keys have the permission s3:PutObject and s3:GetObject?"
        );
    }
}
