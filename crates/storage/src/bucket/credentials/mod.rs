//! Where the keys of a bucket come from: the configuration, the environment, a profile file, a web identity, or
//! the role of the container or the instance, in this order. No secret is in a log, an error or a URL.

mod environment;
mod error;
mod exchange;
mod instance;
mod profile;
mod renewing;

use super::settings::{Credentials, Provider, Settings};
use super::web_identity::{TokenSource, WebIdentity};
pub(super) use environment::Environment;
pub(super) use error::KeysError;
use exchange::{ExchangeError, Sts};
use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use profile::{Profile, ProfileError};
use renewing::Renewing;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_base::secret::Secret;

/// The keys of a bucket, which may be renewed.
#[derive(Clone)]
pub(super) struct Keys {
    provider: AwsCredentialProvider,
    life: Life,
    region: String,
    /// For the log.
    origin: String,
}

/// How long keys are valid.
#[derive(Clone)]
enum Life {
    /// They do not expire, or only the store knows when.
    Endless,
    /// The provider renews them when they have less.
    AtLeast(Duration),
    Session(Arc<Renewing>),
}

impl Keys {
    /// Finds the keys. Makes no request: a role's keys are obtained by the first request to the bucket.
    pub(super) fn find(settings: &Settings, environment: &Environment) -> Result<Self, KeysError> {
        if settings.provider != Provider::S3 {
            // The others find their credentials themselves.
            return Ok(Self {
                provider: Arc::new(StaticCredentialProvider::new(credential("", "", None))),
                life: Life::Endless,
                region: String::new(),
                origin: "the service's own settings".to_owned(),
            });
        }
        let search = Search {
            settings,
            environment,
        };
        let profile = match settings.credentials {
            Credentials::Found => Profile::read(environment)?,
            Credentials::Given { .. } | Credentials::WebIdentity(_) => None,
        };
        let region = search.region(profile.as_ref());
        let (origin, source) = search.source(profile.as_ref(), &region)?;
        let (provider, life) = match source {
            Source::Keys(keys) => (Arc::new(StaticCredentialProvider::new(keys)) as _, Life::Endless),
            Source::Role(provider) => (provider, Life::AtLeast(instance::LEAST)),
            Source::Sts(sts) => {
                let sts = Arc::new(sts);
                let renewing = Arc::new(Renewing::new(move || {
                    let sts = sts.clone();
                    Box::pin(async move { sts.exchange().await })
                }));
                (renewing.clone() as _, Life::Session(renewing))
            }
        };
        Ok(Self {
            provider,
            life,
            region,
            origin,
        })
    }

    pub(super) fn provider(&self) -> AwsCredentialProvider {
        self.provider.clone()
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Gets new keys if `failure` says that the store rejected those of a request that began at `began`. Returns
    /// whether there are newer ones now. The rejected request had no effect.
    pub(super) async fn renewed(&self, failure: &object_store::Error, began: Instant) -> bool {
        match &self.life {
            Life::Session(renewing) if were_rejected(failure) => renewing.renew(began).await,
            Life::Session(_) | Life::Endless | Life::AtLeast(_) => false,
        }
    }

    /// How long the keys that sign the next request are valid. `None` if they do not expire, or only the store
    /// knows when.
    pub(super) async fn left(&self) -> object_store::Result<Option<Duration>> {
        match &self.life {
            Life::Endless => Ok(None),
            Life::AtLeast(least) => Ok(Some(*least)),
            Life::Session(renewing) => renewing.left().await.map(Some),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Returns why there are no keys, if that is what failed.
pub(super) fn no_keys(failure: &(dyn std::error::Error + 'static)) -> Option<KeysError> {
    std::iter::successors(Some(failure), |cause| cause.source()).find_map(|cause| {
        match cause.downcast_ref::<ExchangeError>() {
            Some(why) => Some(KeysError::Exchange(why.clone())),
            None => cause.downcast_ref::<KeysError>().cloned(),
        }
    })
}

/// Whether the store rejected a request for its keys, which it does not know any more. Amazon answers 400, others
/// answer 403.
fn were_rejected(failure: &object_store::Error) -> bool {
    let first: &(dyn std::error::Error + 'static) = failure;
    std::iter::successors(Some(first), |cause| cause.source()).any(|cause| {
        let text = cause.to_string();
        REJECTED.iter().any(|code| text.contains(code))
    })
}

const REJECTED: &[&str] = &["ExpiredToken", "InvalidAccessKeyId", "TokenRefreshRequired"];

/// What keys are made of.
enum Source {
    Keys(AwsCredential),
    Sts(Sts),
    Role(AwsCredentialProvider),
}

struct Search<'a> {
    settings: &'a Settings,
    environment: &'a Environment,
}

impl Search<'_> {
    fn region(&self, profile: Option<&Profile>) -> String {
        let variable = |name| self.environment.variable(name);
        let configured = self.settings.region.as_deref();
        configured
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .or_else(|| profile?.setting("region"))
            .unwrap_or("us-east-1")
            .to_owned()
    }

    /// Returns the source, and its name for the log.
    fn source(&self, profile: Option<&Profile>, region: &str) -> Result<(String, Source), KeysError> {
        match &self.settings.credentials {
            Credentials::Given {
                access_key,
                secret_key,
                session_token,
            } => {
                let token = session_token.as_ref().map(Secret::expose);
                let keys = credential(access_key, secret_key.expose(), token);
                return Ok(("the configuration".to_owned(), Source::Keys(keys)));
            }
            Credentials::WebIdentity(identity) => return self.sts(identity.clone(), region),
            Credentials::Found => {}
        }
        if let Some(keys) = self.in_environment()? {
            return Ok(("the environment".to_owned(), Source::Keys(keys)));
        }
        if let Some(profile) = profile {
            if let Some(keys) = in_profile(profile)? {
                return Ok((profile.name.clone(), Source::Keys(keys)));
            }
            if let Some(identity) = identity_in_profile(profile)? {
                return self.sts(identity, region);
            }
            profile.check_supported()?;
        }
        if let Some(identity) = self.identity_in_environment()? {
            return self.sts(identity, region);
        }
        let role = instance::role(self.environment)?;
        Ok((
            "the role of this container or instance".to_owned(),
            Source::Role(role),
        ))
    }

    fn in_environment(&self) -> Result<Option<AwsCredential>, KeysError> {
        let variable = |name| self.environment.variable(name);
        match (variable(ACCESS_KEY), variable(SECRET_KEY)) {
            (Some(access), Some(secret)) => Ok(Some(credential(access, secret, variable(SESSION_TOKEN)))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(KeysError::Half {
                found: ACCESS_KEY,
                missing: SECRET_KEY,
            }),
            (None, Some(_)) => Err(KeysError::Half {
                found: SECRET_KEY,
                missing: ACCESS_KEY,
            }),
        }
    }

    fn identity_in_environment(&self) -> Result<Option<WebIdentity>, KeysError> {
        let Some(file) = self.environment.path(TOKEN_FILE) else {
            return Ok(None);
        };
        let role = self.environment.variable(ROLE).ok_or(KeysError::Half {
            found: TOKEN_FILE,
            missing: ROLE,
        })?;
        Ok(Some(WebIdentity {
            role: role.to_owned(),
            session_name: self.environment.variable(SESSION_NAME).map(str::to_owned),
            sts_endpoint: None,
            token: TokenSource::File(file),
        }))
    }

    fn sts(&self, identity: WebIdentity, region: &str) -> Result<(String, Source), KeysError> {
        let endpoint = match (&identity.sts_endpoint, self.environment.variable(STS_ENDPOINT)) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(endpoint)) => endpoint.to_owned(),
            (None, None) if self.is_amazons() => {
                let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://sts.{region}.amazonaws.com{suffix}")
            }
            (None, None) => return Err(KeysError::NoSts),
        };
        let origin = format!(
            "STS, for the role {} and the token of {}",
            identity.role, identity.token
        );
        let sts = Sts::new(identity, &endpoint, &self.settings.tls)?;
        Ok((origin, Source::Sts(sts)))
    }

    /// The token for another store must not be sent to Amazon.
    fn is_amazons(&self) -> bool {
        let Some(endpoint) = &self.settings.endpoint else {
            return true;
        };
        let host = reqwest::Url::parse(endpoint).ok();
        let host = host.as_ref().and_then(|url| url.host_str());
        host.is_some_and(|host| host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    }
}

fn in_profile(profile: &Profile) -> Result<Option<AwsCredential>, ProfileError> {
    let half = |found, missing| ProfileError::Half {
        profile: profile.name.clone(),
        found,
        missing,
    };
    match (
        profile.setting("aws_access_key_id"),
        profile.setting("aws_secret_access_key"),
    ) {
        (Some(access), Some(secret)) => {
            let token = profile.setting("aws_session_token");
            Ok(Some(credential(access, secret, token)))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(half("aws_access_key_id", "aws_secret_access_key")),
        (None, Some(_)) => Err(half("aws_secret_access_key", "aws_access_key_id")),
    }
}

fn identity_in_profile(profile: &Profile) -> Result<Option<WebIdentity>, ProfileError> {
    let Some(file) = profile.setting("web_identity_token_file") else {
        return Ok(None);
    };
    let role = profile.setting("role_arn").ok_or_else(|| ProfileError::Half {
        profile: profile.name.clone(),
        found: "web_identity_token_file",
        missing: "role_arn",
    })?;
    Ok(Some(WebIdentity {
        role: role.to_owned(),
        session_name: profile.setting("role_session_name").map(str::to_owned),
        sts_endpoint: None,
        token: TokenSource::File(file.into()),
    }))
}

fn credential(access: &str, secret: &str, token: Option<&str>) -> AwsCredential {
    AwsCredential {
        key_id: access.to_owned(),
        secret_key: secret.to_owned(),
        token: token.map(str::to_owned),
    }
}

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";
const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
const STS_ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";

#[cfg(test)]
mod tests;
