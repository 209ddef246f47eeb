//! Prevents two trust domains from sharing a key. With a shared key, each could issue credentials for the
//! other's workloads. The key is used only for the trust domain that comes first in the configuration, and
//! the log has an error for the later one. Public keys are compared, so the file, the endpoint and the
//! certificate do not matter. The comparison is repeated whenever the keys of a trust domain change. It
//! covers X.509 authorities and JWT keys.
//!
//! SPIFFE discourages shared keys but does not forbid them, so the configuration can allow them for named
//! trust domains.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md#62-reusing-cryptographic-keys-across-trust-domains>

use super::authorities::{Apart, Authorities};
use super::generation::Generation;
use super::keys::Keys;
use super::slot::Held;
use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The trust domains that come before one in the configuration.
pub(super) struct ApartFrom<T> {
    name: Arc<str>,
    others: Vec<(Arc<str>, Arc<Authorities<T>>)>,
    last: ArcSwapOption<Look<T>>,
}

impl<T: Keys + Send + Sync + 'static> Authorities<T> {
    /// Excludes the keys that `others` hold. `name` is the trust domain of these sources, and `others` are
    /// the trust domains that come before it in the configuration.
    #[must_use]
    pub fn apart_from(self, name: &str, others: Vec<(Arc<str>, Arc<Self>)>) -> Self {
        let apart = (!others.is_empty()).then(|| {
            let apart: Box<dyn Apart<T>> = Box::new(ApartFrom {
                name: name.into(),
                others,
                last: ArcSwapOption::empty(),
            });
            apart
        });
        Self { apart, ..self }
    }
}

/// The result of the last comparison, and the states that it compared.
struct Look<T> {
    held: Arc<Held<T>>,
    /// The generation of every source of the others.
    others: Vec<Option<Generation>>,
    withheld: Vec<Withheld>,
    left: Arc<Held<T>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Withheld {
    print: String,
    /// The key's name for messages.
    name: String,
    owner: Arc<str>,
}

impl<T: Keys + Send + Sync> Apart<T> for ApartFrom<T> {
    fn apply(&self, held: Arc<Held<T>>) -> Arc<Held<T>> {
        let others: Vec<_> = self
            .others
            .iter()
            .flat_map(|(_, other)| other.generations())
            .collect();
        let last = self.last.load_full();
        if let Some(last) = last
            .as_ref()
            .filter(|last| Arc::ptr_eq(&last.held, &held) && last.others == others)
        {
            return last.left.clone();
        }
        let withheld = self.find(&held.keys);
        let same = last
            .as_ref()
            .filter(|last| last.held.generation == held.generation && last.withheld == withheld);
        let left = match (withheld.is_empty(), same) {
            (true, _) => held.clone(),
            (false, same) => {
                let keys = held
                    .keys
                    .without(&|print| withheld.iter().any(|one| one.print == print));
                // An unchanged result keeps its generation, so that cached identities stay valid.
                let generation = same.map_or_else(Generation::next, |last| last.left.generation);
                let Held {
                    source,
                    as_of,
                    usable_until,
                    ..
                } = &*held;
                Arc::new(Held {
                    keys,
                    generation,
                    source: source.clone(),
                    as_of: *as_of,
                    usable_until: *usable_until,
                })
            }
        };
        self.log_changes(last.as_ref().map_or(&[], |last| &last.withheld), &withheld);
        self.last.store(Some(Arc::new(Look {
            held,
            others,
            withheld,
            left: left.clone(),
        })));
        left
    }

    fn withheld(&self) -> Vec<String> {
        self.last.load().as_ref().map_or_else(Vec::new, |last| {
            last.withheld.iter().map(|one| one.describe(&self.name)).collect()
        })
    }
}

impl<T: Keys> ApartFrom<T> {
    /// Finds the keys that belong to others. If several others hold a key, it belongs to the first of them.
    fn find(&self, keys: &T) -> Vec<Withheld> {
        let mut owners: BTreeMap<String, &Arc<str>> = BTreeMap::new();
        for (name, other) in &self.others {
            // Stale keys still belong to their trust domain: while its sources are down, no other trust
            // domain may use its keys.
            for held in other.all_held() {
                for (print, _) in held.keys.prints() {
                    owners.entry(print.to_owned()).or_insert(name);
                }
            }
        }
        let withheld = |(print, name): (&str, String)| {
            owners.get(print).map(|owner| Withheld {
                print: print.to_owned(),
                name,
                owner: Arc::clone(owner),
            })
        };
        keys.prints().into_iter().filter_map(withheld).collect()
    }

    fn log_changes(&self, before: &[Withheld], now: &[Withheld]) {
        for one in now.iter().filter(|one| !before.contains(one)) {
            tracing::error!(spiffe.trust_domain = &*self.name, "{}", one.describe(&self.name));
        }
        for one in before.iter().filter(|one| !now.contains(one)) {
            tracing::warn!(
                spiffe.trust_domain = &*self.name,
                "{} is used again, since {} no longer holds it",
                one.name,
                one.owner
            );
        }
    }
}

impl Withheld {
    fn describe(&self, trust_domain: &str) -> String {
        let Self { print, name, owner } = self;
        format!(
            "{name} (public key {print}) is also held by the trust domain {owner}, which comes first in the configuration, so it is not used \
             for {trust_domain}; give each its own key, or allow it with `sharesAuthoritiesWith: [{owner}]` at {trust_domain}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::trust::Slot;
    use crate::trust::bundle::parse_pem;
    use crate::trust::x509::X509Authorities;
    use wharfinger_testkit::Ca;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn roots(all: &[&Ca]) -> X509Authorities {
        parse_pem(
            all.iter()
                .map(|one| one.pem.as_str())
                .collect::<String>()
                .as_bytes(),
        )
        .unwrap()
        .value
    }

    /// Two trust domains, the second apart from the first, each with one source.
    struct Two {
        slots: [Arc<Slot<X509Authorities>>; 2],
        second: Authorities<X509Authorities>,
    }

    impl Two {
        fn new() -> Self {
            let slots = [Slot::new("first"), Slot::new("second")];
            let first = Arc::new(Authorities::new(vec![slots[0].clone()]));
            let second = Authorities::new(vec![slots[1].clone()])
                .apart_from("second.example", vec![("first.example".into(), first)]);
            Self { slots, second }
        }

        fn first(&self, all: &[&Ca]) {
            self.slots[0].publish(roots(all), NOW, NOW.plus(std::time::Duration::from_secs(60)));
        }

        fn left(&self, now: Timestamp) -> usize {
            self.second.view(now).unwrap().keys.len()
        }
    }

    /// Another certificate of the same key.
    fn renewed(one: &Ca) -> Ca {
        let key = rcgen::KeyPair::from_pem(&one.key().serialize_pem()).unwrap();
        let renewed = Ca::root_of("shared", key, |params| params.serial_number = Some(77.into()));
        assert_ne!(renewed.der, one.der);
        renewed
    }

    #[test]
    fn one_root_for_two_trust_domains_stays_with_the_first_also_when_it_appears_later() {
        let shared = Ca::root("shared");
        let own = Ca::root("own");
        let two = Two::new();
        two.slots[1].publish(roots(&[&shared, &own]), NOW, Timestamp::MAX);
        assert_eq!(two.left(NOW), 2, "the first has no keys yet");
        let before = two.second.generation(NOW);
        two.first(&[&renewed(&shared)]);
        assert_eq!(
            two.left(NOW),
            1,
            "the public key is compared, not the certificate"
        );
        let after = two.second.generation(NOW);
        assert_ne!(after, before, "cached identities are verified again");
        let withheld = two.second.withheld(NOW);
        assert!(
            withheld.len() == 1
                && withheld[0].contains("CN=shared")
                && withheld[0].contains("first.example")
                && withheld[0].contains("sharesAuthoritiesWith"),
            "{withheld:?}"
        );

        let later = NOW.plus(std::time::Duration::from_secs(61));
        assert_eq!(two.left(later), 1, "stale keys still belong to the first");
        two.first(&[&shared, &Ca::root("other")]);
        assert_eq!(
            two.second.generation(NOW),
            after,
            "the same keys are withheld, so nothing changes"
        );
        two.slots[1].confirm(NOW, Timestamp::MAX);
        assert_eq!(two.second.generation(NOW), after);
        two.first(&[&Ca::root("other")]);
        assert_eq!(
            (two.left(NOW), two.second.withheld(NOW)),
            (2, vec![]),
            "the first no longer has the key"
        );
    }

    #[test]
    fn trust_domains_without_shared_keys_do_not_affect_each_other() {
        let one = Ca::root("one");
        let other = Ca::root("other");
        let two = Two::new();
        two.first(&[&one]);
        two.slots[1].publish(roots(&[&other]), NOW, Timestamp::MAX);
        let before = two.second.generation(NOW);
        assert_eq!(before, two.slots[1].held().map(|held| held.generation));
        two.first(&[&Ca::root("newer")]);
        assert_eq!(two.second.generation(NOW), before);
    }
}
