//! The choice of the certificate for a client. A certificate with the name that the client asks for (RFC
//! 6066, 3) comes first. The X.509-SVID is next, since clients that verify SPIFFE IDs ignore names. The first
//! file's certificate is last.

use super::pair::Pair;
use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

pub(super) struct Certificates {
    files: Vec<(Vec<String>, Arc<CertifiedKey>)>,
    svid: Option<Arc<ArcSwapOption<CertifiedKey>>>,
}

impl Certificates {
    pub(super) fn new(pairs: &[Pair], svid: Option<Arc<ArcSwapOption<CertifiedKey>>>) -> Self {
        Self {
            files: pairs
                .iter()
                .map(|pair| (pair.names.clone(), pair.certified.clone()))
                .collect(),
            svid,
        }
    }

    /// The first certificate in order of preference that the client can use, or else the first.
    fn choose(
        &self,
        name: Option<&str>,
        usable: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let named = |how: fn(&str, &str) -> bool| {
            let name = name.clone();
            let has = move |names: &[String]| {
                name.as_ref()
                    .is_some_and(|name| names.iter().any(|known| how(known, name)))
            };
            self.files
                .iter()
                .filter(move |(names, _)| has(names))
                .map(|(_, key)| key.clone())
        };
        let svid = self.svid.as_ref().and_then(|svid| svid.load_full());
        let any = self.files.iter().map(|(_, key)| key.clone());
        let ordered: Vec<_> = named(same).chain(named(covers)).chain(svid).chain(any).collect();
        ordered
            .iter()
            .find(|key| usable(key))
            .or(ordered.first())
            .cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(client.server_name(), |key| {
            key.key.choose_scheme(client.signature_schemes()).is_some()
        })
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.files.iter().map(|(names, _)| names))
            .finish()
    }
}

fn same(known: &str, name: &str) -> bool {
    known == name
}

/// A wildcard stands for one label (RFC 6125, 6.4.3).
fn covers(known: &str, name: &str) -> bool {
    known
        .strip_prefix("*.")
        .zip(name.split_once('.'))
        .is_some_and(|(parent, (_, rest))| parent == rest)
}
