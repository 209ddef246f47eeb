//! Why a request to the bucket failed, in words that name the key of the configuration and the fix. The texts of the
//! libraries' errors hold neither.

use super::clock::StoreClock;
use super::credentials::no_keys;
use super::settings::{Credentials, Provider, Settings};
use super::wire::Answered;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error;
use std::io;
use std::sync::Arc;
use wharfinger_base::clock::Clock;
use wharfinger_base::tls_failure::explain as explain_connection;

/// What is known about a bucket that cannot be used.
#[derive(Debug)]
pub(super) struct Explainer {
    bucket: String,
    region: String,
    /// The URL of the service, if it is configured.
    endpoint: Option<String>,
    /// The key of that URL.
    endpoint_key: &'static str,
    bucket_key: &'static str,
    /// Where the keys are configured.
    credentials: &'static str,
    clock: Arc<StoreClock>,
}

impl Explainer {
    pub(super) fn new(settings: &Settings, region: &str, clock: &Arc<StoreClock>) -> Self {
        Self {
            bucket: settings.bucket.clone(),
            region: region.to_owned(),
            endpoint: settings.endpoint.clone(),
            endpoint_key: match settings.provider {
                Provider::S3 if settings.endpoint.is_none() => "storage.storageDriver.region",
                Provider::S3 => "storage.storageDriver.regionendpoint",
                Provider::Azure { .. } => "storage.storageDriver.serviceurl",
                Provider::Gcs { .. } => "storage.storageDriver",
            },
            bucket_key: match settings.provider {
                Provider::Azure { .. } => "storage.storageDriver.container",
                Provider::S3 | Provider::Gcs { .. } => "storage.storageDriver.bucket",
            },
            credentials: match (&settings.provider, &settings.credentials) {
                (Provider::Gcs { .. }, _) => "storage.storageDriver.keyfile",
                (Provider::Azure { .. }, _) => "storage.storageDriver.accountkey",
                (Provider::S3, Credentials::Given { .. }) => "storage.storageDriver.accesskey and secretkey",
                (Provider::S3, Credentials::WebIdentity(_) | Credentials::Found) => {
                    "the source of the keys, which the log names"
                }
            },
            clock: clock.clone(),
        }
    }

    pub(super) fn explain(&self, failure: &(dyn Error + 'static)) -> String {
        if let Some(why) = no_keys(failure) {
            return why.to_string();
        }
        let answered = causes(failure).any(|cause| cause.is::<Answered>());
        let http = causes(failure).find_map(|cause| cause.downcast_ref::<HttpError>());
        if let Some(http) = http.filter(|_| !answered) {
            return self.unanswered(http);
        }
        let text = causes(failure)
            .last()
            .map(ToString::to_string)
            .unwrap_or_default();
        let said = match text.split_once(STATUS) {
            Some((_, status)) => format!("it answered {}", squeezed(status)),
            None => text.trim().to_owned(),
        };
        match self.advice(&said) {
            Some(advice) => format!("{advice} ({said})"),
            None => said,
        }
    }

    fn unanswered(&self, http: &HttpError) -> String {
        let endpoint = self.endpoint_key;
        let first: &(dyn Error + 'static) = http;
        if causes(first).any(|cause| cause.to_string().starts_with("dns error")) {
            return format!(
                "the name of its host cannot be resolved: correct {endpoint}, or the name servers of this machine"
            );
        }
        let refused = causes(first).filter_map(|cause| cause.downcast_ref::<io::Error>());
        if refused
            .map(io::Error::kind)
            .any(|kind| kind == io::ErrorKind::ConnectionRefused)
        {
            return format!(
                "the connection is refused: start the service, or correct host and port in {endpoint}"
            );
        }
        if http.kind() == HttpErrorKind::Timeout {
            return format!(
                "no answer came in time: check the service, the network, and host and port in {endpoint}"
            );
        }
        let why = explain_connection(first).to_string();
        let speaks_tls = self
            .endpoint
            .as_deref()
            .is_none_or(|url| url.starts_with("https:"));
        if why.contains("certificate is not accepted") {
            return format!(
                "{why}: if a private CA issued it, name its file in storage.storageDriver.certificateAuthorityFile; \
                 otherwise correct the host in {endpoint}"
            );
        }
        if speaks_tls && why.contains("not TLS") {
            return format!(
                "the service speaks plain HTTP on this port: write http:// or another port in {endpoint}"
            );
        }
        if !speaks_tls && why.contains("HTTP version") {
            return format!(
                "the service does not speak plain HTTP on this port: write https:// or another port in {endpoint}"
            );
        }
        format!("the connection failed ({why}): check the service, and {endpoint}")
    }

    /// What to do about an answer. `None` if it says enough.
    fn advice(&self, said: &str) -> Option<String> {
        let Self {
            bucket,
            region,
            endpoint_key,
            bucket_key,
            credentials,
            ..
        } = self;
        let advice = match code(said) {
            Some("NoSuchBucket" | "ContainerNotFound") => {
                format!("there is no bucket {bucket}: create it, or correct {bucket_key} or {endpoint_key}")
            }
            Some("InvalidBucketName") => {
                format!("{bucket} cannot be the name of a bucket: correct {bucket_key}")
            }
            Some("InvalidAccessKeyId" | "InvalidClientTokenId") => {
                format!("it does not know the access key: correct {credentials}")
            }
            Some("SignatureDoesNotMatch") => format!(
                "the secret key does not belong to the access key, or a proxy changes the requests: correct {credentials}"
            ),
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                format!("the keys are temporary and have expired: renew {credentials}")
            }
            Some("RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture") => format!(
                "this machine's clock says {}, and the service's {}: correct the clock of this machine",
                Clock::system().now(),
                self.clock.now()
            ),
            Some(
                "AuthorizationHeaderMalformed"
                | "AuthorizationQueryParametersError"
                | "IllegalLocationConstraintException"
                | "PermanentRedirect"
                | "TemporaryRedirect",
            ) => format!("the bucket is not in the region {region}: correct storage.storageDriver.region"),
            Some("AccessDenied" | "Forbidden" | "AuthorizationPermissionMismatch") => {
                format!("access is denied: give {credentials} the missing permission, or use other keys")
            }
            _ if said.contains("redirect") => {
                format!("the bucket is not in the region {region}: correct storage.storageDriver.region")
            }
            None if said.contains("403") => {
                format!("access is denied: give {credentials} the missing permission, or use other keys")
            }
            None if said.contains(" 404") || said.contains(" 405") || said.contains(" 400") => {
                format!("what answers there is not the S3 API: correct host, port and path in {endpoint_key}")
            }
            _ => return None,
        };
        Some(advice)
    }
}

/// What an error of `object_store` has before the status and the body of an answer.
const STATUS: &str = "status code: ";

fn causes<'a>(first: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// `403 Forbidden:  (AccessDenied: …)` without the colon and the second space.
fn squeezed(status: &str) -> String {
    let text = status.trim().trim_end_matches(':');
    text.replacen(":  (", " (", 1)
}

/// The code in `… (SlowDown: Please reduce your request rate.)`.
fn code(said: &str) -> Option<&str> {
    let (_, after) = said.split_once(" (")?;
    let end = after.find(|letter: char| !letter.is_ascii_alphanumeric())?;
    let code = after.get(..end)?;
    (code.starts_with(|letter: char| letter.is_ascii_uppercase())).then_some(code)
}

#[cfg(test)]
mod tests;
