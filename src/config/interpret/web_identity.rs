//! `storage.storageDriver.webidentity`

use super::Interpreter;
use crate::config::raw;
use crate::spiffe_id::SpiffeId;
use crate::storage::bucket::{TokenFetcher, TokenSource, WebIdentity};
use crate::trust::source::{check_address, jwt_svid};
use std::path::PathBuf;
use std::sync::Arc;

impl Interpreter<'_> {
    /// `agent` is the Workload API's address. `plain` is whether the bucket is reached by plain HTTP.
    pub(super) fn web_identity(
        &mut self,
        given: raw::WebIdentity,
        agent: Option<&str>,
        plain: bool,
    ) -> Option<WebIdentity> {
        let role = given.rolearn.filter(|role| !role.is_empty());
        if role.is_none() {
            self.mistake(
                key("rolearn"),
                "is missing: name the role that the token is exchanged for, such as arn:aws:iam::123456789012:role/registry",
            );
        }
        let sts_endpoint = self.service_url("webidentity.stsendpoint", given.stsendpoint, None);
        let is_plain = sts_endpoint
            .as_ref()
            .is_some_and(|url| url.starts_with("http://"));
        if is_plain && !plain {
            self.mistake(
                key("stsendpoint"),
                "must begin with https://, because the token is sent there",
            );
        }
        let token_file = given.tokenfile.filter(|file| !file.as_os_str().is_empty());
        let audience = given.audience.filter(|audience| !audience.is_empty());
        let id = self.chosen_id(given.spiffeid, audience.is_some());
        let token = match (token_file, audience) {
            (Some(file), None) => Some(self.token_file(file)),
            (None, Some(audience)) => self.fetched(audience, id, agent),
            (Some(_), Some(_)) => {
                self.mistake(
                    key("audience"),
                    "cannot be combined with tokenfile: the token comes from the file or from the Workload API",
                );
                None
            }
            (None, None) => {
                self.mistake(
                    key("tokenfile"),
                    "is missing: name the file with the token, or set audience for a JWT-SVID of the Workload API",
                );
                None
            }
        };
        Some(WebIdentity {
            role: role?,
            session_name: given.sessionname.filter(|name| !name.is_empty()),
            sts_endpoint,
            token: token?,
        })
    }

    fn token_file(&self, file: PathBuf) -> TokenSource {
        TokenSource::File(self.around.path(&file))
    }

    fn chosen_id(&mut self, given: Option<String>, is_svid: bool) -> Option<SpiffeId> {
        let given = given.filter(|id| !id.is_empty())?;
        if !is_svid {
            self.mistake(key("spiffeid"), "chooses a JWT-SVID, so it needs audience");
        }
        match given.parse() {
            Ok(id) => Some(id),
            Err(why) => {
                self.mistake(key("spiffeid"), format!("{given:?}: {why}"));
                None
            }
        }
    }

    /// A JWT-SVID of the Workload API.
    fn fetched(
        &mut self,
        audience: String,
        id: Option<SpiffeId>,
        agent: Option<&str>,
    ) -> Option<TokenSource> {
        let Some(agent) = agent else {
            self.mistake(
                "http.auth.spiffe.workloadAPI",
                "is missing, and SPIFFE_ENDPOINT_SOCKET is not set: storage.storageDriver.webidentity gets its token from it",
            );
            return None;
        };
        if let Err(why) = check_address(agent) {
            self.mistake("http.auth.spiffe.workloadAPI", why.to_string());
            return None;
        }
        let mut name = format!("the Workload API at {agent} for the audience {audience}");
        if let Some(id) = &id {
            name = format!("{name} and the SPIFFE ID {id}");
        }
        let agent: Arc<str> = agent.into();
        let audience: Arc<str> = audience.into();
        Some(TokenSource::Fetched(TokenFetcher::new(name, move || {
            let agent = agent.clone();
            let audience = audience.clone();
            let id = id.clone();
            Box::pin(async move { Ok(jwt_svid(&agent, &audience, id.as_ref()).await?) })
        })))
    }
}

fn key(name: &str) -> String {
    format!("storage.storageDriver.webidentity.{name}")
}
