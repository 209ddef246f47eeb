//! `/v2/token`: the token endpoint. A client sends its credential with a GET, or in a form with a POST, and
//! gets one of the registry's own tokens. An error has the codes of both vocabularies that clients know. It
//! is never a 403 or a 415, since some clients give up on those.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>, RFC 6749 5, RFC 8693 2.2.

use super::{Reply, Unidentified, broken_off};
use crate::budget::{Held, Holder};
use crate::exchange::{self, Asked, Grant, GrantRequest, Issued, NotIssued, NotRedeemed};
use crate::http::authority::Origin;
use crate::http::caller::{Caller, presented, source};
use crate::http::fault::Fault;
use crate::http::record::IssuedToken;
use crate::http::{App, Live, measure};
use crate::identity::{CredentialType, Failure, Identity, Scope};
use crate::limits::FORM_BYTES;
use crate::secret::Secret;
use axum::body::Body;
use axum::response::Response;
use bytes::BytesMut;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// A request for a token, whose caller is known.
struct Request {
    identity: Identity,
    asked: Asked,
    /// The credential itself, if another issuer signed it.
    credential: Option<Secret>,
    exchange: bool,
}

pub(in crate::http) async fn answer(request: Unidentified<'_>, body: Body) -> Result<Response, Fault> {
    let app = request.app;
    let live = request.live;
    let asked = if request.parts.method == Method::POST {
        by_post(request, body).await?
    } else {
        by_get(request).await?
    };
    issue(app, live, &asked)
}

async fn by_get(request: Unidentified<'_>) -> Result<Request, Fault> {
    let Unidentified {
        app,
        live,
        parts,
        caller,
        ..
    } = request;
    let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    let all = |name: &'static str| {
        query
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    check_service(live, all("service").next())?;
    let presented = presented(parts);
    let identified = live.authenticator.authenticate(&presented, app.clock.now()).await;
    let identity = identified.map_err(|failure| refused(failure, caller))?;
    accepted(&identity, caller);
    let asked = Asked {
        scope: Scope::asked(all("scope")),
        offline: all("offline_token").next() == Some("true"),
    };
    Ok(Request {
        identity,
        asked,
        credential: live.authenticator.token(&presented),
        exchange: false,
    })
}

async fn by_post(request: Unidentified<'_>, body: Body) -> Result<Request, Fault> {
    let Unidentified {
        app,
        live,
        origin,
        parts,
        caller,
    } = request;
    // The form may take long to arrive, and identifies the caller only then.
    caller.sends_form(app).await?;
    let (form, _held) = form(app, parts, body).await?;
    let GrantRequest {
        grant,
        asked,
        service,
        targets,
    } = GrantRequest::parse(&form)?;
    check_service(live, service.as_deref())?;
    if !targets.iter().all(|target| is_here(target, live, origin)) {
        return Err(Fault::invalid_target());
    }
    let redeemed = exchange::redeem(&grant, &live.authenticator, &presented(parts), app.clock.now()).await;
    let identity = redeemed.map_err(|why| match why {
        NotRedeemed::Grant(failure) => refused(failure, caller),
        NotRedeemed::Client(failure) => refused(failure, caller).bad_client(),
        other => other.into(),
    })?;
    accepted(&identity, caller);
    let exchange = matches!(grant, Grant::TokenExchange { .. });
    let credential = match grant {
        Grant::Password { password: token, .. }
        | Grant::RefreshToken(token)
        | Grant::TokenExchange { subject: token }
        | Grant::ClientAssertion { assertion: token, .. } => Some(token).filter(|_| {
            matches!(
                identity.credential(),
                CredentialType::Oidc | CredentialType::JwtSvid
            )
        }),
        Grant::ClientCredentials { .. } => None,
    };
    Ok(Request {
        identity,
        asked,
        credential,
        exchange,
    })
}

fn issue(app: &App, live: &Live, request: &Request) -> Result<Response, Fault> {
    let Request {
        identity,
        asked,
        credential,
        exchange,
    } = request;
    let now = app.clock.now();
    let issued = match (
        app.tokens.issue(&live.terms, &live.policy, identity, asked, now),
        credential,
    ) {
        (Ok(issued), _) => issued,
        // The credential can do what the token could, and is not limited to a scope.
        (Err(why @ NotIssued::TooLarge { .. }), Some(credential)) if identity.session().is_none() => {
            tracing::warn!(
                identity = identity.username(),
                "returned the caller's own credential instead of a new token: {why}"
            );
            let expires_in = identity.valid_until().since(now);
            Issued {
                token: credential.clone(),
                refresh: None,
                scope: asked.scope.clone(),
                expires_in,
                id: String::new(),
            }
        }
        (Err(why), _) => return Err(why.into()),
    };
    let Issued {
        token,
        refresh,
        scope,
        expires_in,
        id,
    } = issued;
    // Without `issued_at` clients count from their own clock, which they also compare with.
    let body = json!({
        "token": token.expose(),
        "access_token": token.expose(),
        "token_type": "Bearer",
        "expires_in": expires_in.as_secs(),
        "scope": scope.to_string(),
    });
    let further = [
        (
            "issued_token_type",
            exchange.then_some("urn:ietf:params:oauth:token-type:access_token"),
        ),
        ("refresh_token", refresh.as_ref().map(Secret::expose)),
    ];
    let further = further
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    let body = body
        .as_object()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .chain(further)
        .collect();
    let mut response = Reply::new(StatusCode::OK)
        .header(CACHE_CONTROL, "no-store")
        .json(&body);
    response.extensions_mut().insert(IssuedToken {
        id,
        scope: scope.to_string(),
    });
    Ok(response)
}

fn accepted(identity: &Identity, caller: &mut Caller) {
    measure::verdict(Ok(identity));
    caller.accepted(identity);
}

fn refused(failure: Failure, caller: &mut Caller) -> Fault {
    measure::verdict(Err(&failure));
    caller.rejected(&failure);
    failure.into()
}

/// Rejects a request for another service.
fn check_service(live: &Live, service: Option<&str>) -> Result<(), Fault> {
    match service.filter(|service| !service.is_empty() && *service != live.terms.service) {
        Some(_) => Err(Fault::other_service(&live.terms.service)),
        None => Ok(()),
    }
}

/// Whether a target of RFC 8693 names this registry: its service, or its address with or without the scheme
/// and a path.
fn is_here(target: &str, live: &Live, origin: &Origin) -> bool {
    let below = |text: &str| {
        target
            .strip_prefix(text)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    target == live.terms.service || below(&origin.to_string()) || below(origin.authority())
}

/// Reads the body as a form, whatever its content type is. A body that is not a form has no grant type. Also
/// returns the memory for the form, which is reserved before the first read. The caller is identified only by
/// the form, so the memory is charged to the client's address.
async fn form(app: &App, parts: &Parts, mut body: Body) -> Result<(Vec<(String, String)>, Held), Fault> {
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let most = announced.unwrap_or(FORM_BYTES).min(FORM_BYTES);
    let mut held = app.memory.of(Holder::Form(source(parts))).reserve(most).await?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame
            .map_err(|why| Fault::broken_off(broken_off(why)))?
            .into_data()
        else {
            continue;
        };
        if bytes.len() + chunk.len() > FORM_BYTES {
            return Err(Fault::form_too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    held.keep(bytes.len());
    Ok((pairs(&bytes), held))
}

fn pairs(form: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(form).into_owned().collect()
}
