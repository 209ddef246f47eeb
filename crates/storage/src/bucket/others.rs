//! The services that do not speak S3. They are experimental.

use super::settings::Settings;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use std::path::Path;
use wharfinger_base::secret::Secret;

/// Google Cloud Storage. Without a key file, the credentials come from the environment or the instance.
pub(super) fn gcs(settings: &Settings, key_file: Option<&Path>) -> GoogleCloudStorageBuilder {
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&settings.bucket);
    match key_file {
        Some(file) => builder.with_service_account_path(file.display().to_string()),
        None => builder,
    }
}

/// Azure Blob Storage. Without a key, the credentials come from the environment or the instance.
pub(super) fn azure(settings: &Settings, account: &str, key: Option<&Secret>) -> MicrosoftAzureBuilder {
    let builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&settings.bucket)
        .with_account(account);
    let builder = match key {
        Some(key) => builder.with_access_key(key.expose()),
        None => builder,
    };
    match &settings.endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint.clone()),
        None => builder,
    }
}
