//! From a registry to its token. A token is given only to the registry that its audience names, unless the
//! settings file names the registry.

use super::clients;
use super::host::RegistryHost;
use super::settings::{InvalidSettings, PresentAs, Registry, Settings};
use super::source::Source;
use super::source_error::SourceError;
use super::surroundings::Surroundings;
use super::token::Token;
use super::withheld::Withheld;
use std::time::Duration;
use wharfinger_base::clock::{Clock, Timestamp};
use wharfinger_base::secret::Secret;

/// The tokens that this process may give to clients.
#[derive(Debug)]
pub struct Workload {
    around: Surroundings,
    /// The settings file, if there is one. Only the registries in it then get a token.
    settings: Option<Settings>,
    clock: Clock,
}

/// A token on its way to a client.
#[derive(Debug)]
pub struct Handed {
    pub username: String,
    pub secret: Secret,
    pub present_as: PresentAs,
    /// The source, for messages.
    pub place: String,
    /// How long the token may be cached. `None` if it has no expiry.
    pub fresh_for: Option<Duration>,
}

/// The result for a registry.
#[derive(Debug)]
pub enum Found {
    Token(Handed),
    /// There is no token, and clients continue without one. The list says which tokens were withheld.
    Nothing(Vec<Withheld>),
}

/// The kind of client that requests a registry's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client that may request tokens for every registry it uses. A new token is then fetched only if a
    /// configuration names the registry.
    AnyClient,
    /// A person, or a program that an operator configured for this registry.
    Configured,
}

impl Workload {
    pub fn find(around: Surroundings, clock: Clock) -> Result<Self, InvalidSettings> {
        Ok(Self {
            settings: Settings::find(&around)?,
            around,
            clock,
        })
    }

    /// Returns the token for this registry, or why there is none. Fails if this registry should get a token
    /// and its source fails.
    pub async fn token(&self, host: &RegistryHost, asker: Asker) -> Result<Found, SourceError> {
        let registry = match &self.settings {
            None => None,
            Some(settings) => match settings.registry(host) {
                Some(registry) => Some(registry),
                None => return Ok(Found::Nothing(settings.near(host).into_iter().collect())),
            },
        };
        let configured =
            registry.is_some() || asker == Asker::Configured || clients::name(&self.around, host);
        let registry = registry.cloned().unwrap_or_default();
        let now = self.clock.now();
        if let Some(source) = &registry.source {
            let audience = registry.audience.clone().unwrap_or_else(|| host.audience());
            let token = source
                .token(&audience, &self.around)
                .await?
                .fresh(&source.to_string(), now)?;
            return Ok(Found::Token(handed(token, source, &registry, now)));
        }
        let mut withheld = Vec::new();
        for source in self.around.sources() {
            match self.offered(&source, host, &registry, configured).await {
                Ok(Ok(token)) => return Ok(Found::Token(handed(token, &source, &registry, now))),
                Ok(Err(why)) => withheld.push(why),
                // Any variable may hold a JWT of another issuer, or something that only looks like one.
                Err(SourceError::NotAToken { .. }) if matches!(source, Source::Environment(_)) => {}
                Err(why) if configured => return Err(why),
                Err(why) => withheld.push(Withheld::Unusable {
                    host: host.clone(),
                    why,
                }),
            }
        }
        Ok(Found::Nothing(withheld))
    }

    /// Returns the token of one source of the environment, if this registry may have it.
    async fn offered(
        &self,
        source: &Source,
        host: &RegistryHost,
        registry: &Registry,
        configured: bool,
    ) -> Result<Result<Token, Withheld>, SourceError> {
        let makes_tokens = source.chooses_audience();
        if makes_tokens && !configured {
            return Ok(Err(Withheld::NotConfigured {
                source: source.clone(),
                host: host.clone(),
            }));
        }
        let audience = registry.audience.clone().unwrap_or_else(|| host.audience());
        let token = source.token(&audience, &self.around).await?;
        let for_it =
            |found: &String| *found == audience || (registry.audience.is_none() && host.is_audience(found));
        if !makes_tokens && !token.audiences.iter().any(for_it) {
            return Ok(Err(Withheld::Audience {
                holder: source.holder(),
                found: token.audiences,
                expected: audience,
                setting: None,
            }));
        }
        Ok(Ok(token.fresh(&source.to_string(), self.clock.now())?))
    }

    /// Whether this registry gets this workload's own token, so that a login is unnecessary. Fetches no new
    /// token.
    pub async fn serves(&self, host: &RegistryHost) -> bool {
        match &self.settings {
            Some(settings) => settings.registry(host).is_some(),
            None if clients::name(&self.around, host) => !self.around.sources().is_empty(),
            None => matches!(self.token(host, Asker::AnyClient).await, Ok(Found::Token(_))),
        }
    }

    /// Checks whether this registry may have the pod's token in `holder`: the settings file must name the
    /// registry, or without a settings file an audience of the token must.
    pub(super) fn may_have(&self, host: &RegistryHost, token: &Token, holder: &str) -> Result<(), Withheld> {
        match &self.settings {
            Some(settings) if settings.registry(host).is_some() => Ok(()),
            Some(settings) => Err(settings.near(host).unwrap_or_else(|| settings.without(host))),
            None if token.audiences.iter().any(|audience| host.is_audience(audience)) => Ok(()),
            None => Err(Withheld::Audience {
                holder: holder.to_owned(),
                found: token.audiences.clone(),
                expected: host.audience(),
                setting: Some("serviceAccountTokenAudience"),
            }),
        }
    }

    /// Returns the registries in the settings file, each with the username for its token.
    #[must_use]
    pub fn registries(&self) -> Vec<(&RegistryHost, &str)> {
        let all = self.settings.iter().flat_map(|settings| &settings.registries);
        all.map(|(host, registry)| (host, registry.username.as_deref().unwrap_or(USERNAME)))
            .collect()
    }
}

fn handed(token: Token, source: &Source, registry: &Registry, now: Timestamp) -> Handed {
    Handed {
        username: registry.username.clone().unwrap_or_else(|| USERNAME.to_owned()),
        present_as: registry.present_as,
        place: source.to_string(),
        fresh_for: token.expires.map(|expires| expires.since(now)),
        secret: token.secret,
    }
}

/// The default username. Registries ignore it, but clients require one.
pub(super) const USERNAME: &str = "workload";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wharfinger_testkit::unsigned_token;

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn token_for(audience: &str) -> String {
        unsigned_token(&json!({"aud": [audience], "exp": NOW.as_secs() + 300}))
    }

    fn workload(variables: &[(&str, &str)], settings: Option<&[(&str, Registry)]>) -> Workload {
        let around = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let registries = |list: &[(&str, Registry)]| {
            list.iter()
                .map(|(host, registry)| (host.parse().unwrap(), registry.clone()))
                .collect()
        };
        let settings = settings.map(|list| Settings {
            registries: registries(list),
            file: "/s.yaml".into(),
        });
        Workload {
            around,
            settings,
            clock: Clock::manual(NOW).0,
        }
    }

    async fn found(workload: &Workload, host: &str) -> Found {
        workload
            .token(&host.parse().unwrap(), Asker::AnyClient)
            .await
            .unwrap()
    }

    async fn got(workload: &Workload, host: &str) -> Option<String> {
        match found(workload, host).await {
            Found::Token(handed) => Some(handed.secret.expose().to_owned()),
            Found::Nothing(_) => None,
        }
    }

    async fn withheld(workload: &Workload, host: &str) -> Vec<String> {
        match found(workload, host).await {
            Found::Token(handed) => panic!("expected no token for {host}, found {handed:?}"),
            Found::Nothing(withheld) => withheld.iter().map(ToString::to_string).collect(),
        }
    }

    #[tokio::test]
    async fn of_gitlabs_tokens_the_one_for_this_registry_is_used() {
        let ours = token_for("https://r.example");
        let theirs = token_for("https://vault.example");
        let old = unsigned_token(&json!({"aud": "old.example", "exp": 1}));
        let workload = workload(
            &[("GITLAB_CI", "true"), ("A", &theirs), ("B", &old), ("C", &ours)],
            None,
        );
        assert_eq!(got(&workload, "r.example").await, Some(ours));
        let said = withheld(&workload, "r.example:5000").await;
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[2].starts_with("the token in C is for https://r.example, not for r.example:5000; "),
            "{said:?}"
        );
        let expired = workload
            .token(&"old.example".parse().unwrap(), Asker::Configured)
            .await
            .map(drop);
        assert!(matches!(expired, Err(SourceError::Expired { .. })), "{expired:?}");
        let said = withheld(&workload, "old.example").await;
        assert!(
            said.iter().any(|why| why.contains("variable B expired")),
            "{said:?}"
        );
    }

    #[tokio::test]
    async fn with_a_settings_file_only_the_registries_in_it_get_a_token() {
        let token = token_for("whatever");
        let from = |name: &str| Registry {
            source: Some(Source::Environment(name.into())),
            ..Registry::default()
        };
        let named = [
            ("r.example:5000", from("T")),
            ("s.example", from("NONE")),
            ("http://p.example:80", from("T")),
        ];
        let workload = workload(&[("T", &token), ("GITLAB_CI", "1")], Some(&named));
        for host in [
            "r.example:5000",
            "https://r.example:5000",
            "p.example:80",
            "http://p.example",
        ] {
            assert_eq!(
                got(&workload, host).await.as_deref(),
                Some(token.as_str()),
                "{host}: its audience does not matter"
            );
        }
        for host in [
            "r.example",
            "https://r.example",
            "r.example:5001",
            "p.example",
            "https://p.example:80",
        ] {
            let said = withheld(&workload, host).await;
            assert!(
                said.len() == 1 && said[0].contains("/s.yaml names ") && said[0].contains(host),
                "{said:?}"
            );
        }
        assert_eq!(
            withheld(&workload, "index.docker.io").await,
            [] as [String; 0],
            "public pulls continue without a message"
        );
        let unset = workload
            .token(&"s.example".parse().unwrap(), Asker::AnyClient)
            .await
            .map(drop);
        assert_eq!(
            unset,
            Err(SourceError::Unset {
                place: "variable NONE".into()
            })
        );
        let names: Vec<_> = workload
            .registries()
            .iter()
            .map(|(host, username)| format!("{host} {username}"))
            .collect();
        assert_eq!(
            names,
            [
                "http://p.example:80 workload",
                "r.example:5000 workload",
                "s.example workload"
            ]
        );
    }

    #[tokio::test]
    async fn a_new_token_needs_a_configuration_that_names_the_registry() {
        let svid = ("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere");
        let unnamed = workload(&[svid], None);
        let said = withheld(&unnamed, "https://index.docker.io/v1/").await;
        assert!(
            said.len() == 1
                && said[0].contains("none was requested from the Workload API at unix:///nowhere"),
            "{said:?}"
        );
        let named = workload(&[svid, ("WHARFINGER_REGISTRIES", "r.example:5000")], None);
        assert_eq!(withheld(&named, "r.example").await.len(), 1);
        for (workload, host, asker) in [
            (&named, "r.example:5000", Asker::AnyClient),
            (&unnamed, "r.example", Asker::Configured),
        ] {
            let asked = workload.token(&host.parse().unwrap(), asker).await.map(drop);
            assert!(
                matches!(asked, Err(SourceError::WorkloadApi { .. })),
                "{host}: {asked:?}"
            );
        }
        assert!(
            named.serves(&"r.example:5000".parse().unwrap()).await
                && !named.serves(&"r.example".parse().unwrap()).await
        );
    }

    #[tokio::test]
    async fn a_token_file_is_read_each_time_and_reported_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let workload = workload(&[("WHARFINGER_TOKEN_FILE", path.to_str().unwrap())], None);
        let host: RegistryHost = "r.example".parse().unwrap();
        let unreadable = workload
            .token(&host, Asker::Configured)
            .await
            .map(drop)
            .unwrap_err();
        assert!(
            matches!(unreadable, SourceError::Unreadable { .. }) && unreadable.to_string().contains("token"),
            "{unreadable}"
        );
        let said = withheld(&workload, "index.docker.io").await;
        assert!(
            said.len() == 1 && said[0].contains(path.to_str().unwrap()),
            "a broken file does not stop a public pull: {said:?}"
        );
        let first = token_for("r.example");
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let Found::Token(handed) = workload.token(&host, Asker::AnyClient).await.unwrap() else {
            panic!()
        };
        assert_eq!(
            (handed.secret.expose(), handed.fresh_for),
            (first.as_str(), Some(Duration::from_secs(300)))
        );
        std::fs::write(
            &path,
            unsigned_token(&json!({"aud": "r.example", "exp": NOW.as_secs()})),
        )
        .unwrap();
        assert!(matches!(
            workload.token(&host, Asker::Configured).await.map(drop),
            Err(SourceError::Expired { .. })
        ));
    }
}
