//! `type: kubernetes`: finds a pod's own cluster's issuer.

use super::Interpreter;
use crate::config::raw;
use crate::trust::jwt::Unverified;
use std::path::PathBuf;

impl Interpreter<'_> {
    /// Fills in missing values. The key set comes from the API server itself, because its discovery document
    /// names the host for clients outside the cluster, which a pod may not reach.
    pub(super) fn in_cluster(&mut self, key: &str, entry: &mut raw::Oidc) {
        let token = entry
            .bearer_token_file
            .get_or_insert_with(|| PathBuf::from(TOKEN));
        let token = self.around.path(token);
        if entry.certificate_authority.is_none() && entry.certificate_authority_file.is_none() {
            entry.certificate_authority_file = Some(PathBuf::from(CA));
        }
        if entry.jwks_url.is_none() && entry.discovery_url.is_none() && entry.jwks_file.is_none() {
            match &self.around.environment.kubernetes_service {
                Some((host, port)) => {
                    let host = if host.contains(':') {
                        format!("[{host}]")
                    } else {
                        host.clone()
                    };
                    entry.jwks_url = Some(format!("https://{host}:{port}/openid/v1/jwks"));
                }
                None => {
                    let what = "kubernetes, but KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: outside a pod, give issuer, \
                                jwksURL, certificateAuthorityFile and bearerTokenFile instead";
                    self.mistake(format!("{key}.type"), what);
                }
            }
        }
        if entry.issuer.is_none() {
            let issuer = |text: String| {
                Unverified::parse(text.trim())
                    .ok()
                    .and_then(|token| token.issuer().map(str::to_owned))
            };
            let found = std::fs::read_to_string(&token).map(issuer);
            match found {
                Ok(Some(issuer)) => entry.issuer = Some(issuer),
                Ok(None) => self.mistake(
                    format!("{key}.issuer"),
                    format!(
                        "cannot be found: {} holds no service account token with an `iss`; mount a token, or set the issuer",
                        token.display()
                    ),
                ),
                Err(why) => self.mistake(
                    format!("{key}.issuer"),
                    format!("cannot be found in the pod's token, {}: {why}; mount a token, or set the issuer", token.display()),
                ),
            }
        }
    }
}

/// The folder where a pod's service account files are mounted.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
