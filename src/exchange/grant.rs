//! Parses a client's token request: its grant and the requested scope. RFC 6749 4.3, 4.4 and 6, RFC 8693 2.1,
//! and draft-ietf-oauth-spiffe-client-auth. Dex's additional parameters (`connector_id`, a client's id and
//! secret) are ignored.

use super::Asked;
use crate::identity::Scope;
use crate::secret::Secret;

/// A parsed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRequest {
    pub grant: Grant,
    pub asked: Asked,
    /// The service that the token is for: `service`, and `audience` and `resource` of a token exchange.
    pub service: Option<String>,
    pub targets: Vec<String>,
}

/// The grant that identifies the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A name and a password. The password may be a token.
    Password {
        user: String,
        password: Secret,
    },
    /// One of the registry's own refresh tokens, or another issuer's token.
    RefreshToken(Secret),
    TokenExchange {
        subject: Secret,
    },
    /// The credential of the request itself.
    ClientCredentials {
        client_id: Option<String>,
    },
    /// A JWT-SVID.
    ClientAssertion {
        client_id: Option<String>,
        assertion: Secret,
    },
}

/// Why a form is invalid for every client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error(
        "expected a form (application/x-www-form-urlencoded) with grant_type=password, refresh_token, client_credentials or {TOKEN_EXCHANGE}"
    )]
    NoGrantType,
    #[error(
        "this grant_type is not supported: use password, refresh_token, client_credentials or {TOKEN_EXCHANGE}"
    )]
    UnsupportedGrantType,
    #[error("the parameter {name} is missing or empty")]
    Missing { name: &'static str },
    #[error("the parameter {name} appears several times: send it once")]
    Repeated { name: &'static str },
    #[error(
        "this subject_token_type is not supported: use urn:ietf:params:oauth:token-type:jwt, id_token or access_token"
    )]
    SubjectTokenType,
    #[error(
        "this requested_token_type is not supported: leave it out, or use urn:ietf:params:oauth:token-type:access_token"
    )]
    RequestedTokenType,
    #[error("actor_token is not supported: tokens are issued for their subject only")]
    ActorToken,
    #[error("this client_assertion_type is not supported: use {JWT_SPIFFE}")]
    AssertionType,
}

impl GrantRequest {
    /// Parses a form's decoded names and values.
    pub fn parse(form: &[(String, String)]) -> Result<Self, GrantError> {
        let form = Form(form);
        let grant = match form.get("grant_type")?.ok_or(GrantError::NoGrantType)? {
            "password" => Grant::Password {
                user: form.get("username")?.unwrap_or_default().to_owned(),
                password: Secret::new(form.required("password")?),
            },
            "refresh_token" => Grant::RefreshToken(Secret::new(form.required("refresh_token")?)),
            TOKEN_EXCHANGE => form.token_exchange()?,
            "client_credentials" => form.client_credentials()?,
            _ => return Err(GrantError::UnsupportedGrantType),
        };
        let offline =
            form.get("access_type")? == Some("offline") || form.get("offline_token")? == Some("true");
        let asked = Asked {
            scope: Scope::asked(form.all("scope")),
            offline,
        };
        let targets = ["audience", "resource"]
            .into_iter()
            .flat_map(|name| form.all(name))
            .map(str::to_owned);
        let targets = if matches!(grant, Grant::TokenExchange { .. }) {
            targets.collect()
        } else {
            Vec::new()
        };
        Ok(Self {
            grant,
            asked,
            service: form.get("service")?.map(str::to_owned),
            targets,
        })
    }
}

struct Form<'a>(&'a [(String, String)]);

impl<'a> Form<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns a parameter. An empty one is treated as missing (RFC 6749 3.2).
    fn get(&self, name: &'static str) -> Result<Option<&'a str>, GrantError> {
        let mut values = self.all(name).filter(|value| !value.is_empty());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(GrantError::Repeated { name }),
            (value, None) => Ok(value),
        }
    }

    fn required(&self, name: &'static str) -> Result<&'a str, GrantError> {
        self.get(name)?.ok_or(GrantError::Missing { name })
    }

    fn token_exchange(&self) -> Result<Grant, GrantError> {
        if self.get("actor_token")?.is_some() {
            return Err(GrantError::ActorToken);
        }
        let kind = |text: &'a str| text.strip_prefix("urn:ietf:params:oauth:token-type:");
        if !matches!(
            kind(self.required("subject_token_type")?),
            Some("jwt" | "id_token" | "access_token")
        ) {
            return Err(GrantError::SubjectTokenType);
        }
        if !matches!(
            self.get("requested_token_type")?.map(kind),
            None | Some(Some("access_token" | "jwt"))
        ) {
            return Err(GrantError::RequestedTokenType);
        }
        Ok(Grant::TokenExchange {
            subject: Secret::new(self.required("subject_token")?),
        })
    }

    fn client_credentials(&self) -> Result<Grant, GrantError> {
        let client_id = self.get("client_id")?.map(str::to_owned);
        match (self.get("client_assertion_type")?, self.get("client_assertion")?) {
            (None, None) => Ok(Grant::ClientCredentials { client_id }),
            (Some(JWT_SPIFFE), Some(assertion)) => Ok(Grant::ClientAssertion {
                client_id,
                assertion: Secret::new(assertion),
            }),
            (Some(JWT_SPIFFE), None) => Err(GrantError::Missing {
                name: "client_assertion",
            }),
            (Some(_), _) => Err(GrantError::AssertionType),
            (None, Some(_)) => Err(GrantError::Missing {
                name: "client_assertion_type",
            }),
        }
    }
}

pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
