//! `http.tls`

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::{CertificateConfig, DomainConfig};
use crate::server::{ClientAuth, PairFiles, TlsSettings};

impl Interpreter<'_> {
    pub(super) fn tls(
        &mut self,
        tls: Option<raw::Tls>,
        domains: &[DomainConfig],
        certificates: &[CertificateConfig],
    ) -> Option<TlsSettings> {
        let by_certificate = domains.iter().any(|domain| domain.accepts_x509) || !certificates.is_empty();
        let only_by_certificate = domains
            .iter()
            .find(|domain| domain.accepts_x509 && !domain.accepts_jwt);
        let Some(tls) = tls else {
            if let Some(domain) = only_by_certificate {
                self.mistake(
                    format!("{}.svids", domain.key),
                    "X.509-SVIDs need TLS: add http.tls with cert and key",
                );
            }
            if let Some(entry) = certificates.first() {
                self.mistake(
                    entry.key.clone(),
                    "client certificates need TLS: add http.tls with cert and key",
                );
            }
            return None;
        };
        let default = if by_certificate {
            ClientAuth::Optional
        } else {
            ClientAuth::Off
        };
        let client_auth = tls.client_auth.map_or(default, client_auth);
        if let (ClientAuth::Off, Some(domain)) = (client_auth, only_by_certificate) {
            let what = format!(
                "trust domain {} accepts only X.509-SVIDs, so its workloads could not log in: use optional",
                domain.name()
            );
            self.mistake("http.tls.clientAuth", what);
        }
        if let (ClientAuth::Required, false) = (client_auth, by_certificate) {
            self.mistake(
                "http.tls.clientAuth",
                "required, but no trust domain accepts X.509-SVIDs and there is no http.auth.x509 entry, so no client could connect",
            );
        }
        let svid = tls.workload_api.unwrap_or(false);
        let mut files = Vec::new();
        match (tls.cert, tls.key) {
            (Some(cert), Some(key)) => files.push(raw::CertificateFiles { cert, key }),
            (None, None) if svid || !tls.certificates.is_empty() => {}
            (None, None) => {
                self.mistake(
                    "http.tls",
                    "has no certificate: add cert and key, or certificates, or workloadAPI: true",
                );
            }
            (None, Some(_)) => self.mistake("http.tls.cert", "is missing, but key is set"),
            (Some(_), None) => self.mistake("http.tls.key", "is missing, but cert is set"),
        }
        files.extend(tls.certificates);
        let path = |file: &std::path::Path| self.around.path(file);
        let files = files
            .iter()
            .map(|files| PairFiles {
                cert: path(&files.cert),
                key: path(&files.key),
            })
            .collect();
        Some(TlsSettings {
            files,
            svid,
            client_auth,
            http2: tls.http2.unwrap_or(false),
        })
    }
}

const fn client_auth(raw: raw::ClientAuth) -> ClientAuth {
    match raw {
        raw::ClientAuth::Off => ClientAuth::Off,
        raw::ClientAuth::Optional => ClientAuth::Optional,
        raw::ClientAuth::Required => ClientAuth::Required,
    }
}
