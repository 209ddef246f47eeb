//! The client of `object_store` for the service in which the bucket is.

use super::OpenError;
use super::credentials::Keys;
use super::others;
use super::settings::{Provider, Settings};
use super::wire::{Requests, Wire};
use object_store::aws::AmazonS3Builder;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;

/// What the store needs of a client of its service.
pub(super) trait Service: ObjectStore + PaginatedListStore + MultipartStore + Signer {}
impl<T: ObjectStore + PaginatedListStore + MultipartStore + Signer> Service for T {}

/// A client of the service in which the bucket is.
pub(super) fn service(
    settings: &Settings,
    options: &ClientOptions,
    wire: &Wire,
    retry: RetryConfig,
    keys: &Keys,
    signs_bytes: bool,
) -> object_store::Result<Arc<dyn Service>> {
    match &settings.provider {
        Provider::S3 => {
            let builder = AmazonS3Builder::new()
                .with_bucket_name(&settings.bucket)
                .with_region(keys.region())
                .with_credentials(keys.provider())
                .with_virtual_hosted_style_request(!settings.path_style)
                .with_client_options(options.clone())
                .with_http_connector(wire.clone())
                .with_disable_bulk_delete(true)
                .with_unsigned_payload(!signs_bytes)
                .with_retry(retry);
            let builder = match bucket_url(settings) {
                Some(url) => builder.with_endpoint(url),
                None => builder,
            };
            Ok(Arc::new(builder.build()?))
        }
        Provider::Gcs { key_file } => {
            let builder = others::gcs(settings, key_file.as_deref())
                .with_client_options(options.clone())
                .with_http_connector(wire.clone())
                .with_retry(retry);
            Ok(Arc::new(builder.build()?))
        }
        Provider::Azure { account, key } => {
            let builder = others::azure(settings, account, key.as_ref())
                .with_client_options(options.clone())
                .with_http_connector(wire.clone())
                .with_retry(retry);
            Ok(Arc::new(builder.build()?))
        }
    }
}

/// The URL under which S3 finds the bucket, if it is not Amazon's.
fn bucket_url(settings: &Settings) -> Option<String> {
    let endpoint = settings.endpoint.as_ref()?;
    match endpoint.split_once("://") {
        Some((scheme, host)) if !settings.path_style => {
            Some(format!("{scheme}://{}.{host}", settings.bucket))
        }
        _ => Some(endpoint.clone()),
    }
}

/// How the client connects, and whom it trusts.
pub(super) fn client_options(settings: &Settings, requests: &Requests) -> Result<ClientOptions, OpenError> {
    let failed = |why: String| OpenError::new(&settings.bucket, why);
    let mut options = ClientOptions::new()
        .with_allow_http(settings.tls.plain)
        .with_allow_invalid_certificates(settings.tls.skip_verify)
        .with_connect_timeout(requests.connect)
        .with_read_timeout(requests.answer)
        .with_timeout_disabled();
    if let Some(file) = &settings.tls.authorities {
        let pem = std::fs::read(file).map_err(|why| failed(format!("{}: {why}", file.display())))?;
        let authorities =
            Certificate::from_pem_bundle(&pem).map_err(|why| failed(format!("{}: {why}", file.display())))?;
        for authority in authorities {
            options = options.with_root_certificate(authority);
        }
    }
    Ok(options)
}
