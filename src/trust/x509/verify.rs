//! Verifies chains (RFC 5280 6, X509-SVID 5). webpki builds the path. Checks that it does not make are made
//! here: the dates and path lengths of anchors, and whether an intermediate's key may sign certificates.

use super::authorities::Authority;
use super::bounds::check_intermediates;
use super::budget::Counted;
use super::candidates;
use super::fault::without_context;
use super::intermediates::{Intermediate, intermediates};
use super::name;
use super::outline::Outline;
use super::profile::Profile;
use super::rejected::{Malformed, NotTheServer, PassedOver, Rejected, Unfit};
use super::verified::{Checked, VerifiedChain};
use super::{Leaf, X509Authorities};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::{Held, fingerprint};
use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, VerifiedPath};

/// Verifies an X.509-SVID. `chain` is what the client sent after the leaf. `view` has the authorities of the
/// leaf's own trust domain.
pub fn verify_svid(
    leaf: &Leaf,
    chain: &[CertificateDer<'static>],
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    let id = leaf.spiffe_id()?;
    VerifiedChain::new(
        leaf,
        Some(id),
        view,
        check_chain(leaf, chain, view, now, Profile::Svid)?,
    )
}

/// Verifies a client certificate that is not an X.509-SVID. The result has no SPIFFE ID, whatever the names
/// in the certificate.
pub fn verify_plain(
    leaf: &Leaf,
    chain: &[CertificateDer<'static>],
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    leaf.check_client(Profile::Plain)?;
    VerifiedChain::new(
        leaf,
        None,
        view,
        check_chain(leaf, chain, view, now, Profile::Plain)?,
    )
}

/// Verifies a server's X.509-SVID, whose SPIFFE ID must be `expected`. `view` has the authorities of its
/// trust domain.
pub(in crate::trust) fn verify_server(
    leaf: &Leaf,
    chain: &[CertificateDer<'static>],
    view: &Held<X509Authorities>,
    expected: &SpiffeId,
    now: Timestamp,
) -> Result<(), NotTheServer> {
    let found = leaf.server_spiffe_id()?;
    if found != *expected {
        return Err(NotTheServer::Other {
            expected: expected.clone(),
            found,
        });
    }
    check_chain(leaf, chain, view, now, Profile::ServerSvid)?;
    Ok(())
}

fn check_chain(
    leaf: &Leaf,
    chain: &[CertificateDer<'static>],
    view: &Held<X509Authorities>,
    now: Timestamp,
    profile: Profile,
) -> Result<Checked, Rejected> {
    // Certificates have whole seconds, and are valid until the end of the last one.
    let now = Timestamp::from_secs(now.as_secs());
    if now < leaf.not_before() {
        return Err(Rejected::NotYetValid {
            not_before: leaf.not_before(),
            now,
        });
    }
    if leaf.not_after() < now {
        return Err(Rejected::Expired {
            not_after: leaf.not_after(),
            now,
        });
    }
    if let Some(oid) = leaf.unknown_critical() {
        return Err(Rejected::CriticalExtension { oid: oid.to_owned() });
    }
    if profile.is_a_clients() {
        check_intermediates(leaf.der(), chain)?;
    }
    let mut authorities = authorities(view, now)?;
    let (intermediates, passed_over) = intermediates(leaf, chain, now, profile);
    let unfit = unfit_issuer(leaf, &intermediates, &passed_over);
    let intermediates = candidates::choose(&Outline::read(leaf.der())?, intermediates, &mut authorities);
    let candidates: Vec<_> = intermediates.iter().map(|one| one.der.clone()).collect();
    let anchors: Vec<TrustAnchor<'_>> = authorities
        .iter()
        .map(|authority| authority.anchor.clone())
        .collect();

    let refuse = |why| match (why, &unfit) {
        (webpki::Error::NameConstraintViolation, _) => constrained(leaf, &intermediates, &authorities),
        (webpki::Error::UnknownIssuer, Some(PassedOver { subject, why })) => Rejected::UnfitIssuer {
            issuer: subject.clone(),
            why: why.clone(),
        },
        (why, _) => refused(why, leaf, view, passed_over.clone()),
    };
    let end_entity = EndEntityCert::try_from(leaf.der()).map_err(refuse)?;
    if end_entity.subject_public_key_info() != *leaf.public_key() {
        // Two parsers would see two different keys, and the client has proved only one of them.
        return Err(Malformed::Der.into());
    }
    let counted = leaf.budget().algorithms();
    let algorithms: Vec<_> = counted
        .iter()
        .map(|one: &Counted<'_>| one as &dyn SignatureVerificationAlgorithm)
        .collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0)));
    let length = |path: &VerifiedPath<'_>| check_length(path, &authorities);
    let path = end_entity
        .verify_for_usage(
            &algorithms,
            &anchors,
            &candidates,
            time,
            profile,
            None,
            Some(&length),
        )
        .map_err(refuse)?;

    let used = path
        .intermediate_certificates()
        .map(|certificate| certificate.der());
    let expiries = used
        .filter_map(|der| intermediates.iter().find(|one| one.der == der))
        .map(|one| one.not_after);
    let anchored = vouching(&path, &authorities)
        .map(|authority| authority.not_after)
        .max();
    let authority = vouching(&path, &authorities)
        .next()
        .map(Authority::fingerprint)
        .unwrap_or_default()
        .to_owned();
    let key = fingerprint(&end_entity.subject_public_key_info());
    Ok(Checked {
        valid_until: expiries
            .chain(anchored)
            .fold(leaf.not_after().min(view.usable_until), Timestamp::min),
        authority,
        key,
    })
}

fn authorities(view: &Held<X509Authorities>, now: Timestamp) -> Result<Vec<&Authority>, Rejected> {
    let Some(last) = view.keys.latest_expiry() else {
        return Err(Rejected::NoAuthorities {
            origin: view.source.clone(),
        });
    };
    let valid: Vec<_> = view.keys.valid_at(now).collect();
    if valid.is_empty() {
        return Err(Rejected::AuthoritiesOutOfDate {
            origin: view.source.clone(),
            held: view.keys.len(),
            last,
            now,
        });
    }
    Ok(valid)
}

/// Finds an issuer that the client sent and the path builder cannot use. It explains why there is no path.
fn unfit_issuer(leaf: &Leaf, fit: &[Intermediate<'_>], passed_over: &[PassedOver]) -> Option<PassedOver> {
    let issuers = |subject: &str| {
        let by_leaf = name::shortened(leaf.issuer_dn()) == subject;
        by_leaf || fit.iter().any(|one| one.issuer == subject)
    };
    let same = |subject: &str| fit.iter().any(|one| one.subject == subject);
    let unusable = passed_over
        .iter()
        .filter(|one| matches!(one.why, Unfit::CriticalExtension { .. }));
    unusable
        .filter(|one| !same(&one.subject))
        .find(|one| issuers(&one.subject))
        .cloned()
}

/// Finds the constraint that the names violate, or that cannot be checked.
fn constrained(leaf: &Leaf, intermediates: &[Intermediate<'_>], authorities: &[&Authority]) -> Rejected {
    let of_authorities = authorities.iter().map(|one| (one.subject_dn(), one.constrains));
    let mut all = intermediates
        .iter()
        .map(|one| (one.subject.as_str(), one.constrains))
        .chain(of_authorities);
    let mut uri = None;
    let mut directory = None;
    for (subject, constrains) in &mut all {
        uri = uri.or_else(|| Some(subject.to_owned()).filter(|_| constrains.uri && leaf.has_uri_names()));
        directory = directory.or_else(|| Some(subject.to_owned()).filter(|_| constrains.directory));
    }
    match (uri, directory) {
        (Some(authority), _) => Rejected::UriConstraints { authority },
        (None, Some(authority)) => Rejected::DirectoryConstraints { authority },
        (None, None) => Rejected::NameConstraints,
    }
}

/// Returns the authorities of a path's anchor. Two certificates with different dates may hold the same key.
fn vouching<'a>(
    path: &VerifiedPath<'_>,
    authorities: &'a [&Authority],
) -> impl Iterator<Item = &'a Authority> {
    let anchor = path.anchor().to_owned();
    authorities
        .iter()
        .copied()
        .filter(move |authority| authority.anchor == anchor)
}

fn check_length(path: &VerifiedPath<'_>, authorities: &[&Authority]) -> Result<(), webpki::Error> {
    let counted = path
        .intermediate_certificates()
        .filter(|certificate| certificate.subject() != certificate.issuer())
        .count();
    let allows = |authority: &Authority| {
        authority
            .path_len
            .is_none_or(|most| u32::try_from(counted).is_ok_and(|counted| counted <= most))
    };
    if vouching(path, authorities).any(allows) {
        Ok(())
    } else {
        Err(webpki::Error::PathLenConstraintViolated)
    }
}

fn refused(
    why: webpki::Error,
    leaf: &Leaf,
    view: &Held<X509Authorities>,
    passed_over: Vec<PassedOver>,
) -> Rejected {
    match why {
        _ if leaf.budget().is_exceeded() => Rejected::SignatureChecks {
            origin: view.source.clone(),
        },
        webpki::Error::BadDer => Malformed::Der.into(),
        webpki::Error::UnknownIssuer => Rejected::NoPath {
            issuer: name::shortened(leaf.issuer_dn()),
            origin: view.source.clone(),
            passed_over,
        },
        why => Rejected::Path {
            origin: view.source.clone(),
            why: without_context(why),
        },
    }
}
