//! The role of a container or of an instance, by the providers of `object_store`. An instance is asked by version
//! 2 of its metadata service only: version 1 gives keys to anyone who can make the server send a request.

use super::environment::Environment;
use super::error::KeysError;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// The provider of the container's role, if the environment names one, and of the instance's role otherwise.
pub(super) fn role(environment: &Environment) -> Result<AwsCredentialProvider, KeysError> {
    let relative = environment.variable(RELATIVE);
    let full = environment.variable(FULL);
    let builder = builder();
    let (builder, place) = match (relative, full) {
        (Some(path), _) => (
            builder.with_config(AmazonS3ConfigKey::ContainerCredentialsRelativeUri, path),
            Place::Container,
        ),
        (None, Some(url)) => {
            let token = environment.variable(TOKEN).ok_or(KeysError::Half {
                found: FULL,
                missing: TOKEN,
            })?;
            check(url)?;
            let builder = builder
                .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, url)
                .with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, token);
            (builder, Place::Container)
        }
        (None, None)
            if environment
                .variable(DISABLED)
                .is_some_and(|value| value == "true") =>
        {
            return Err(KeysError::None {
                why: format!("{DISABLED} is true"),
            });
        }
        (None, None) => match environment.variable(METADATA) {
            Some(url) => (
                builder.with_metadata_endpoint(url.trim_end_matches('/')),
                Place::Instance,
            ),
            None => (builder, Place::Instance),
        },
    };
    let store = builder
        .build()
        .map_err(|why| KeysError::None { why: why.to_string() })?;
    Ok(Arc::new(Role {
        inner: store.credentials().clone(),
        place,
    }))
}

/// A store that is never used: only its builder makes the providers.
fn builder() -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_bucket_name("none")
        .with_region("us-east-1")
        .with_retry(RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        })
}

/// The keys of these providers are renewed when they are valid for less: `object_store` renews those of an
/// instance or a container 5 minutes before their end, and those of an EKS pod 1 minute before it.
pub(super) const LEAST: Duration = Duration::from_secs(60);

/// A token of the container must not be sent to another machine in plain HTTP.
fn check(url: &str) -> Result<(), KeysError> {
    let is_local = reqwest::Url::parse(url).is_ok_and(|url| match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(|host| LOCAL.contains(&host)),
        _ => false,
    });
    if is_local {
        Ok(())
    } else {
        Err(KeysError::NotLocal)
    }
}

#[derive(Debug)]
struct Role {
    inner: AwsCredentialProvider,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Container,
    Instance,
}

#[async_trait::async_trait]
impl CredentialProvider for Role {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.inner.get_credential().await.map_err(|why| {
            let why = match self.place {
                Place::Container => KeysError::Container { why: why.to_string() },
                Place::Instance => KeysError::None {
                    why: format!("the metadata service of this instance gives none: {why}"),
                },
            };
            object_store::Error::Generic {
                store: "bucket",
                source: Box::new(why),
            }
        })
    }
}

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// This machine, and the agents of ECS and EKS on it.
const LOCAL: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "[::1]",
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::23]",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_token_stays_on_this_machine_or_goes_by_tls() {
        for (url, expected) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://localhost:1234/", true),
            ("https://keys.example.org/", true),
            ("http://keys.example.org/", false),
            ("http://169.254.170.23.example.org/", false),
            ("file:///etc/passwd", false),
            ("nonsense", false),
        ] {
            assert_eq!(check(url).is_ok(), expected, "{url}");
        }
    }

    #[test]
    fn a_full_address_needs_a_token_file() {
        let found = role(&[(FULL, "http://localhost/")].into())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            found,
            KeysError::Half {
                found: FULL,
                missing: TOKEN
            }
        );
    }
}
