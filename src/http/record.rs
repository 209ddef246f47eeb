//! The line that each request writes into the log. It has the reason and the evidence if the credential was
//! rejected, and never the credential itself.

use super::Standing;
use crate::identity::{CredentialType, Evidence, Failure, Identity, Peer, Refusal, reason};
use http::{Method, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// The fields of the line.
pub(super) struct Record {
    /// The request's id, which its answer has as well.
    pub(super) id: String,
    pub(super) method: Method,
    path: String,
    begun: Instant,
    /// The client's address.
    pub(super) address: Option<IpAddr>,
    credential: Option<CredentialType>,
    /// The caller's username, once the caller is identified.
    name: Option<String>,
    /// The evidence of a credential that was rejected or could not be checked.
    evidence: Evidence,
    /// The reason for that, in one word.
    reason: Option<&'static str>,
    /// The id of one of the registry's own tokens, if the caller presented one.
    session: Option<String>,
    /// The certificate of a trusted proxy, which is not a credential.
    pub(super) ignored: Option<Arc<Peer>>,
}

/// What the log says about a token that was issued. It is an extension of the answer.
#[derive(Clone, Debug)]
pub(super) struct IssuedToken {
    pub(super) id: String,
    pub(super) scope: String,
}

impl Record {
    /// `path` must not have a query or the whole id of an upload.
    pub(super) fn new(id: String, method: Method, path: String, begun: Instant) -> Self {
        Self {
            id,
            method,
            path,
            begun,
            address: None,
            credential: None,
            name: None,
            evidence: Evidence::default(),
            reason: None,
            session: None,
            ignored: None,
        }
    }

    pub(super) fn identified(&mut self, identity: &Identity) {
        self.credential = Some(identity.credential());
        self.name = Some(identity.username().to_owned());
        self.session = identity.session().map(|session| session.token.clone());
    }

    pub(super) fn unidentified(&mut self, failure: &Failure) {
        let (Failure::Refused(Refusal { evidence, .. })
        | Failure::Undecidable { evidence, .. }
        | Failure::Busy { evidence, .. }) = failure;
        self.credential = evidence.credential;
        self.reason = Some(reason(failure));
        self.evidence = evidence.clone();
    }

    /// Adds to the reason of a 401 that the registry ignored a certificate.
    pub(super) fn with_ignored_certificate(&self, status: StatusCode, why: Option<String>) -> Option<String> {
        let Some(peer) = self
            .ignored
            .as_ref()
            .filter(|_| status == StatusCode::UNAUTHORIZED)
        else {
            return why;
        };
        let Evidence { subject, serial, .. } = peer.evidence();
        let subject = subject.unwrap_or_default();
        let serial = serial.unwrap_or_default();
        let ignored = format!(
            "the client certificate (subject {subject:?}, serial {serial}) was ignored, because a trusted proxy presented it \
             (http.trustedProxies): remove the address from that list, or let the client send a token"
        );
        Some(why.into_iter().chain([ignored]).collect::<Vec<_>>().join("; "))
    }

    /// Shortens the reason if the same certificate was rejected on this connection before. A client can
    /// repeat a certificate at no cost, and would fill the log. After a reload the reason may differ, so it
    /// is written in full again. `standing` is `None` for a connection that clients of a proxy share.
    pub(super) fn shortened(
        &mut self,
        standing: Option<&Standing>,
        generation: u64,
        why: Option<String>,
    ) -> Option<String> {
        let certificate = self.credential == Some(CredentialType::X509Svid)
            || self.credential == Some(CredentialType::X509);
        let (Some(reason), Some(standing), true) = (self.reason, standing, certificate) else {
            return why;
        };
        let refusal = format!("{generation} {reason}{}", self.evidence);
        let Some(first) = standing.refused_before(&refusal, &self.id) else {
            return why;
        };
        self.evidence = Evidence {
            credential: self.credential,
            ..Evidence::default()
        };
        Some(format!(
            "the certificate was refused for the same reason as in request {first} of this connection"
        ))
    }

    pub(super) fn write(&self, status: StatusCode, issued: Option<&IssuedToken>, why: Option<&str>) {
        let Self {
            id,
            method,
            path,
            begun,
            address,
            credential,
            name,
            evidence,
            session,
            ..
        } = self;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    http.method = %method,
                    http.path = path,
                    http.status = status.as_u16(),
                    http.micros = micros,
                    request.id = id,
                    client.address = address.map(tracing::field::display),
                    credential.type = credential.map(CredentialType::as_str),
                    credential.issuer = evidence.issuer.as_deref(),
                    credential.key_id = evidence.key_id.as_deref(),
                    credential.subject = evidence.subject.as_deref(),
                    credential.serial = evidence.serial.as_deref(),
                    identity = name.as_deref(),
                    token.id = session.as_deref(),
                    token.issued = issued.map(|issued| issued.id.as_str()),
                    token.scope = issued.map(|issued| issued.scope.as_str()),
                    why,
                    $message
                )
            };
        }
        match (status, why) {
            (status, _) if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                line!(error, "request failed")
            }
            (StatusCode::UNAUTHORIZED, Some(_)) if name.is_none() => line!(warn, "credential refused"),
            (StatusCode::TOO_MANY_REQUESTS, Some(_)) => line!(warn, "too many requests"),
            _ => line!(info, "request"),
        }
    }
}
