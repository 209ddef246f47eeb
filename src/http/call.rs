//! What a handler gets: the request, its caller, and the state of the configuration.

use super::authority::Origin;
use super::caller::{Caller, source};
use super::fault::Fault;
use super::query::Query;
use super::{App, Live};
use crate::access::{self, Kind, Permit, Write};
use crate::budget::{Held, Holder, Share};
use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Condition, Digest, RepositoryName};
use crate::registry;
use bytes::Bytes;
use http::HeaderName;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use std::sync::Arc;

/// A request whose caller is not identified, or not yet.
pub(super) struct Unidentified<'a> {
    pub(super) app: &'a App,
    pub(super) live: &'a Live,
    pub(super) origin: &'a Origin,
    pub(super) parts: &'a Parts,
    pub(super) caller: &'a mut Caller,
}

/// A request whose caller is known.
pub(super) struct Call {
    pub(super) app: App,
    pub(super) live: Arc<Live>,
    pub(super) identity: Identity,
    pub(super) query: Query,
    pub(super) parts: Parts,
    pub(super) now: Timestamp,
}

impl Call {
    pub(super) fn permit<A: Kind>(&self, repository: &RepositoryName) -> Result<Permit<A>, Fault> {
        Ok(access::decide(&self.live.policy, &self.identity, repository)?)
    }

    pub(super) fn write_permit(&self, repository: &RepositoryName) -> Result<Permit<Write>, Fault> {
        Ok(access::decide_write(
            &self.live.policy,
            &self.identity,
            repository,
        )?)
    }

    /// The memory for the bodies of this caller.
    pub(super) fn memory(&self) -> Share {
        let stranger = self.identity.is_anonymous();
        let name = || self.identity.username().to_owned();
        self.app.memory.of(if stranger {
            Holder::Stranger(source(&self.parts))
        } else {
            Holder::Identified(name())
        })
    }

    /// Reserves memory for content that an answer holds until its client has received it. Small content needs
    /// none. While a request waits for memory it must not hold any, so it drops the content and reads it
    /// `again` afterwards. `beside` comes from the same read as the content.
    pub(super) async fn in_memory<T, F>(
        &self,
        (content, beside): (Bytes, T),
        again: impl Fn() -> F,
    ) -> Result<(Bytes, T), Fault>
    where
        F: Future<Output = Result<(Bytes, T), Fault>>,
    {
        if content.len() <= LARGE {
            return Ok((content, beside));
        }
        let memory = self.memory();
        let mut size = content.len();
        if let Some(held) = memory.try_take(size) {
            return Ok((Bytes::from_owner(Content { content, _held: held }), beside));
        }
        drop((content, beside));
        loop {
            let held = memory.reserve(size).await?;
            let (content, beside) = again().await?;
            if content.len() <= held.bytes() || content.len() > MANIFEST_BYTES {
                return Ok((Bytes::from_owner(Content { content, _held: held }), beside));
            }
            size = content.len(); // it has grown while the request waited
        }
    }

    /// The `Content-Length` of the request.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    pub(super) fn reader(&self) -> access::Reader<'_> {
        access::Reader::new(&self.live.policy, &self.identity)
    }

    pub(super) fn catalog_reader(&self) -> Result<access::Reader<'_>, Fault> {
        Ok(access::Reader::catalog(&self.live.policy, &self.identity)?)
    }

    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The value of `?ns=` if it names this registry, which the answer then repeats as the content's origin.
    /// With another host's name the registry acts as a mirror under the same repository names, and the
    /// parameter changes nothing (distribution-spec, Registry Proxying).
    pub(super) fn namespace(&self) -> Option<&str> {
        let namespace = self.query.get("ns")?;
        let host = self
            .parts
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| self.header(http::header::HOST));
        let external = self
            .live
            .external_urls
            .iter()
            .filter_map(|url| Some(url.split_once("://")?.1.trim_end_matches('/')));
        host.into_iter()
            .chain(external)
            .any(|name| name.eq_ignore_ascii_case(namespace))
            .then_some(namespace)
    }

    /// The condition in `If-Match` and `If-None-Match`.
    pub(super) fn condition(&self) -> Condition {
        let list = |name| {
            let values = self
                .parts
                .headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap_or_default());
            values
                .map(str::to_owned)
                .reduce(|list, more| format!("{list},{more}"))
        };
        Condition::parse(
            list(http::header::IF_MATCH).as_deref(),
            list(http::header::IF_NONE_MATCH).as_deref(),
        )
    }

    /// Whether the client already has this content (RFC 9110, 13.2.2).
    ///
    /// # Errors
    ///
    /// 412 if the client wants other content only.
    pub(super) fn has(&self, found: &Digest) -> Result<bool, Fault> {
        let condition = self.condition();
        if !condition.is_met_by(found) {
            return Err(registry::Error::ConditionFailed {
                found: Some(found.clone()),
            }
            .into());
        }
        Ok(condition.is_known(found))
    }
}

/// Answers with more bytes need memory from the budget. Smaller ones are shared with the store's cache.
const LARGE: usize = 512 << 10;

/// Bytes and the memory reserved for them.
struct Content {
    content: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}
