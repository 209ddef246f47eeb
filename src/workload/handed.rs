//! From a registry to the token for it. A token goes only where its audience says, unless the settings name the registry.

use super::host::RegistryHost;
use super::settings::{InvalidSettings, PresentAs, Registry, Settings};
use super::source::{Source, SourceError};
use super::surroundings::Surroundings;
use super::token::Token;
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;
use std::time::Duration;

/// What this process may hand to clients.
#[derive(Debug)]
pub struct Workload {
    around: Surroundings,
    /// Of a file, if there is one; then no other registry gets anything.
    settings: Option<Settings>,
    clock: Clock,
}

/// A token on its way to a client.
#[derive(Debug)]
pub struct Handed {
    pub username: String,
    pub secret: Secret,
    pub present_as: PresentAs,
    /// Where it comes from, for people.
    pub place: String,
    /// For how long it may be kept; `None` if it does not say.
    pub fresh_for: Option<Duration>,
}

impl Workload {
    pub fn find(around: Surroundings, clock: Clock) -> Result<Self, InvalidSettings> {
        Ok(Self { settings: Settings::find(&around)?, around, clock })
    }

    /// The token for this registry; `None` if it gets none and clients should go on without.
    pub async fn token(&self, host: &RegistryHost) -> Result<Option<Handed>, SourceError> {
        let named = match &self.settings {
            None => None,
            Some(settings) => match settings.registries.get(host) {
                Some(registry) => Some(registry),
                None => return Ok(None),
            },
        };
        let registry = named.cloned().unwrap_or_default();
        let audience = registry.audience.as_deref().unwrap_or_else(|| host.name());
        let now = self.clock.now();
        if let Some(source) = &registry.source {
            let token = source.token(audience, &self.around, now).await?;
            return Ok(Some(handed(token, source, &registry, now)));
        }
        for source in self.around.sources() {
            // One that somebody else fills may be for another registry, and expired tokens of others are none of our business.
            let others_choice = !source.chooses_audience();
            match source.token(audience, &self.around, now).await {
                Ok(token)
                    if others_choice && !token.audiences.iter().any(|for_whom| for_whom == audience || host.is_audience(for_whom)) => {}
                Ok(token) => return Ok(Some(handed(token, &source, &registry, now))),
                Err(SourceError::NotAToken { .. } | SourceError::Expired { .. }) if matches!(source, Source::Environment(_)) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(None)
    }

    /// Whether [`Self::token`] would look for one, without looking.
    #[must_use]
    pub fn serves(&self, host: &RegistryHost) -> bool {
        match &self.settings {
            Some(settings) => settings.registries.contains_key(host),
            None => !self.around.sources().is_empty(),
        }
    }

    /// Whether somebody else's token, for these audiences, may be handed to this registry: settings name it, or without any its audience
    /// does.
    pub(super) fn may_have(&self, host: &RegistryHost, audiences: &[String]) -> Result<(), Withheld> {
        match &self.settings {
            Some(settings) if settings.registries.contains_key(host) => Ok(()),
            Some(_) => Err(Withheld::NotNamed { host: host.clone() }),
            None if audiences.iter().any(|audience| host.is_audience(audience)) => Ok(()),
            None => Err(Withheld::Audience { host: host.clone(), found: audiences.to_vec() }),
        }
    }

    /// The registries that the settings name, each with the username that goes with its token.
    #[must_use]
    pub fn registries(&self) -> Vec<(&RegistryHost, &str)> {
        let all = self.settings.iter().flat_map(|settings| &settings.registries);
        all.map(|(host, registry)| (host, registry.username.as_deref().unwrap_or(USERNAME))).collect()
    }
}

/// Why a token was not handed to a registry, which could log in elsewhere with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    #[error("{host} gets no token: the settings name other registries; if it is one of yours, name it there")]
    NotNamed { host: RegistryHost },
    #[error(
        "{host} gets no token: expected one for the audience {host}, found {found:?}; set serviceAccountTokenAudience to the registry's \
         host, or name the registry in the settings"
    )]
    Audience { host: RegistryHost, found: Vec<String> },
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

/// Registries look at the token alone, but clients want a name beside it.
pub(super) const USERNAME: &str = "workload";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::token;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn token_for(audience: &str) -> String {
        token::for_test(&json!({"aud": [audience], "exp": NOW.as_secs() + 300}))
    }

    fn workload(variables: &[(&str, &str)], settings: Option<&[(&str, Registry)]>) -> Workload {
        let around = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let registries =
            |list: &[(&str, Registry)]| list.iter().map(|(host, registry)| (host.parse().unwrap(), registry.clone())).collect();
        let settings = settings.map(|list| Settings { registries: registries(list) });
        Workload { around, settings, clock: Clock::manual(NOW).0 }
    }

    async fn got(workload: &Workload, host: &str) -> Option<String> {
        let handed = workload.token(&host.parse().unwrap()).await.unwrap()?;
        Some(handed.secret.expose().to_owned())
    }

    #[tokio::test]
    async fn of_gitlabs_tokens_the_one_counts_that_is_for_this_registry() {
        let (ours, theirs) = (token_for("https://r.example"), token_for("https://vault.example"));
        let old = token::for_test(&json!({"aud": "r.example", "exp": 1}));
        let workload = workload(&[("GITLAB_CI", "true"), ("A", &theirs), ("B", &old), ("C", &ours)], None);
        assert_eq!(got(&workload, "r.example").await, Some(ours));
        assert_eq!(got(&workload, "index.docker.io").await, None, "no token for a stranger");
    }

    #[tokio::test]
    async fn with_settings_only_the_registries_they_name_get_anything() {
        let token = token_for("whatever");
        let from = |name: &str| Registry { source: Some(Source::Environment(name.into())), ..Registry::default() };
        let workload = workload(&[("T", &token), ("GITLAB_CI", "1")], Some(&[("r.example:5000", from("T")), ("s.example", from("NONE"))]));
        assert_eq!(got(&workload, "r.example:5000").await, Some(token), "whatever its audience: somebody named it");
        assert_eq!(got(&workload, "r.example").await, None);
        let unset = workload.token(&"s.example".parse().unwrap()).await.map(drop);
        assert_eq!(unset, Err(SourceError::Unset { place: "variable NONE".into() }));
        let names: Vec<_> = workload.registries().iter().map(|(host, username)| format!("{host} {username}")).collect();
        assert_eq!(names, ["r.example:5000 workload", "s.example workload"]);
    }

    #[tokio::test]
    async fn a_token_file_is_read_each_time_and_told_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let workload = workload(&[("WHARFINGER_TOKEN_FILE", path.to_str().unwrap())], None);
        let host = "r.example".parse().unwrap();
        let unreadable = workload.token(&host).await.map(drop).unwrap_err();
        assert!(matches!(unreadable, SourceError::Unreadable { .. }) && unreadable.to_string().contains("token"), "{unreadable}");
        let first = token_for("r.example");
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let handed = workload.token(&host).await.unwrap().unwrap();
        assert_eq!((handed.secret.expose(), handed.fresh_for), (first.as_str(), Some(Duration::from_secs(300))));
        std::fs::write(&path, token::for_test(&json!({"aud": "r.example", "exp": NOW.as_secs()}))).unwrap();
        assert!(matches!(workload.token(&host).await.map(drop), Err(SourceError::Expired { .. })));
    }
}
