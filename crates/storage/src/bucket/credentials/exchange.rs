//! One exchange of a token for keys at STS: `AssumeRoleWithWebIdentity`, as a form in the body of a POST.
//! Nothing secret is in a URL, no redirect is followed, and a token in an error of STS is cut out.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use super::super::clock::http_date;
use super::super::settings::Tls;
use super::super::web_identity::{TokenSource, WebIdentity};
use http::StatusCode;
use http::header::{CONTENT_TYPE, DATE};
use object_store::aws::AwsCredential;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wharfinger_base::clock::{Clock, Timestamp};
use wharfinger_base::file_error::FileError;
use wharfinger_base::secret::Secret;
use wharfinger_base::tls_failure::explain;

/// Exchanges tokens at one STS for one role.
#[derive(Debug)]
pub(super) struct Sts {
    client: Client,
    endpoint: Url,
    identity: WebIdentity,
}

/// Keys, and how long they are valid from now.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) keys: Arc<AwsCredential>,
    pub(super) life: Duration,
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::bucket) enum ExchangeError {
    #[error("the token of {from} cannot be had: {why}")]
    Token { from: String, why: String },
    #[error("STS at {endpoint} cannot be reached: {why}")]
    Unreachable { endpoint: String, why: String },
    #[error("STS at {endpoint} rejected the token of {from} for the role {role}: {why}. {fix}")]
    Rejected {
        endpoint: String,
        from: String,
        role: String,
        why: String,
        fix: &'static str,
    },
    #[error("{endpoint} answered {status}, and not as STS does: check that it is the URL of STS")]
    NotSts { endpoint: String, status: u16 },
    #[error(
        "STS at {endpoint} returned keys that expired at {expiry}, before its own time {now}: check its clock"
    )]
    Expired {
        endpoint: String,
        expiry: Timestamp,
        now: Timestamp,
    },
    #[error("the exchange at STS was interrupted")]
    Interrupted,
}

/// Why no exchange can be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::bucket) enum StsSetupError {
    #[error(
        "the URL of STS must be https://host… without a user, a query or a fragment (http://host… only where the \
         bucket uses plain HTTP too)"
    )]
    Endpoint,
    #[error("the authorities {path} cannot be used: {why}")]
    Authorities { path: String, why: String },
    #[error("no HTTP client for STS: {0}")]
    Client(String),
    #[error("the role must not be empty: name the role that the token is exchanged for")]
    NoRole,
    #[error("the session name {0:?} must have 2 to 64 characters of A-Z, a-z, 0-9 and _=,.@-")]
    SessionName(String),
}

impl Sts {
    pub(super) fn new(identity: WebIdentity, endpoint: &str, tls: &Tls) -> Result<Self, StsSetupError> {
        let schemes: &[&str] = if tls.plain { &["http", "https"] } else { &["https"] };
        let endpoint = Url::parse(endpoint)
            .ok()
            .filter(|url| schemes.contains(&url.scheme()) && url.has_host())
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .filter(|url| url.query().is_none() && url.fragment().is_none())
            .ok_or(StsSetupError::Endpoint)?;
        if identity.role.is_empty() {
            return Err(StsSetupError::NoRole);
        }
        let name = identity.session_name.as_deref().unwrap_or(SESSION);
        let may = |c: char| c.is_ascii_alphanumeric() || "_=,.@-".contains(c);
        if !(2..=64).contains(&name.len()) || !name.chars().all(may) {
            return Err(StsSetupError::SessionName(name.to_owned()));
        }
        Ok(Self {
            client: client(&endpoint, tls)?,
            endpoint,
            identity,
        })
    }

    pub(super) async fn exchange(&self) -> Result<Session, ExchangeError> {
        let token = self.token().await?;
        let name = self.identity.session_name.as_deref().unwrap_or(SESSION);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("DurationSeconds", "3600")
            .append_pair("RoleArn", &self.identity.role)
            .append_pair("RoleSessionName", name)
            .append_pair("WebIdentityToken", token.expose())
            .finish();
        let failed = |why: reqwest::Error| ExchangeError::Unreachable {
            endpoint: self.endpoint.to_string(),
            why: match why.is_timeout() {
                true => format!("no answer within {} s", PATIENCE.as_secs()),
                false => explain(&why.without_url()).to_string(),
            },
        };
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let now = date.and_then(http_date).unwrap_or_else(|| Clock::system().now());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(self.not_sts(status));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&body);
        if !status.is_success() {
            return Err(self.rejected(status, &body, &token));
        }
        let Ok(answer) = quick_xml::de::from_str::<Answer>(&body) else {
            return Err(self.not_sts(status));
        };
        let keys = answer.assume_role_with_web_identity_result.credentials;
        let Ok(expiry) = keys.expiration.trim().parse::<Timestamp>() else {
            return Err(self.not_sts(status));
        };
        if expiry <= now {
            return Err(ExchangeError::Expired {
                endpoint: self.endpoint.to_string(),
                expiry,
                now,
            });
        }
        Ok(Session {
            keys: Arc::new(AwsCredential {
                key_id: keys.access_key_id,
                secret_key: keys.secret_access_key,
                token: Some(keys.session_token),
            }),
            life: expiry.since(now),
        })
    }

    async fn token(&self) -> Result<Secret, ExchangeError> {
        let from = &self.identity.token;
        let failed = |why: String| ExchangeError::Token {
            from: from.to_string(),
            why,
        };
        let token = match from {
            TokenSource::File(path) => {
                let file = path.clone();
                let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(file))
                    .await
                    .map_err(|why| failed(why.to_string()))?;
                Secret::new(text.map_err(|why| failed(FileError::new(path, &why).to_string()))?)
            }
            TokenSource::Fetched(fetcher) => tokio::time::timeout(PATIENCE, fetcher.fetch())
                .await
                .map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?
                .map_err(|why| failed(why.to_string()))?,
        };
        let token = Secret::new(token.expose().trim());
        let printable = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if token.expose().is_empty() || !printable {
            return Err(failed(
                "expected one token, which is printable ASCII without spaces".to_owned(),
            ));
        }
        Ok(token)
    }

    fn rejected(&self, status: StatusCode, body: &str, token: &Secret) -> ExchangeError {
        let Ok(ErrorAnswer { error }) = quick_xml::de::from_str(body) else {
            return self.not_sts(status);
        };
        let shown = |text: &str| {
            let text = text.replace(token.expose(), "…");
            text.chars()
                .filter(|c| !c.is_control())
                .take(300)
                .collect::<String>()
        };
        let code = shown(&error.code);
        ExchangeError::Rejected {
            endpoint: self.endpoint.to_string(),
            from: self.identity.token.to_string(),
            role: self.identity.role.clone(),
            why: format!("{code}: {}", shown(error.message.trim_end_matches('.'))),
            fix: fix(&code),
        }
    }

    fn not_sts(&self, status: StatusCode) -> ExchangeError {
        ExchangeError::NotSts {
            endpoint: self.endpoint.to_string(),
            status: status.as_u16(),
        }
    }
}

fn client(endpoint: &Url, tls: &Tls) -> Result<Client, StsSetupError> {
    let mut client = Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .danger_accept_invalid_certs(tls.skip_verify);
    if endpoint.scheme() == "http" {
        client = client.tls_certs_only([]);
    } else if let Some(path) = &tls.authorities {
        client = client.tls_certs_merge(authorities(path)?);
    }
    client
        .build()
        .map_err(|why| StsSetupError::Client(explain(&why).to_string()))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, StsSetupError> {
    let unusable = |why: String| StsSetupError::Authorities {
        path: path.display().to_string(),
        why,
    };
    let pem = std::fs::read(path).map_err(|why| unusable(FileError::new(path, &why).to_string()))?;
    Certificate::from_pem_bundle(&pem).map_err(|why| unusable(explain(&why).to_string()))
}

/// Returns what to do about an error of STS.
fn fix(code: &str) -> &'static str {
    match code {
        "InvalidIdentityToken" => {
            "Compare the token's issuer and audience with the identity provider that is registered at STS, and \
             check that STS can fetch the issuer's keys"
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            "Check that the token's source renews it, and the clocks of this machine and of the issuer"
        }
        "AccessDenied" | "AccessDeniedException" => {
            "Check that the role exists, and that its trust policy allows this issuer, audience and subject"
        }
        "IDPRejectedClaim" => {
            "Compare the token's audience and subject with the identity provider and the trust policy"
        }
        "IDPCommunicationError" => {
            "STS could not reach the issuer of the token. Check that its keys are public"
        }
        "RegionDisabledException" => "Activate STS in this region, or set the URL of another STS",
        "ValidationError" | "MissingParameter" => "Check the role's name and the session's name",
        _ => "Check the role, its trust policy, and the token's issuer and audience",
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    assume_role_with_web_identity_result: Assumed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Keys,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorAnswer {
    error: StsError,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StsError {
    code: String,
    #[serde(default)]
    message: String,
}

const SESSION: &str = "wharfinger";
const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(15);
/// In bytes.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests;
