//! The two clients that try a registry: one without a certificate, and one with the certificate if there is one.

use crate::client::{Connection, InvalidConnection, Outcome, Request, Url};
use crate::trust::tls::Authorities;
use crate::workload::RegistryHost;
use std::time::Duration;

/// Two clients of one registry.
#[derive(Clone, Debug)]
pub struct Probe {
    plain: Connection,
    certified: Connection,
    always_presents: bool,
}

impl Probe {
    /// Makes the clients. `authorities` and `certificate` (followed by its key) are PEM. The default
    /// authorities are the system's.
    pub fn new(
        host: &RegistryHost,
        plain_http: bool,
        authorities: Option<&[u8]>,
        certificate: Option<&[u8]>,
    ) -> Result<Self, InvalidConnection> {
        let plain_http = plain_http || host.is_plain_http();
        let scheme = if plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{}", host.authority());
        let named = if authorities.is_some() {
            "the authorities of --ca"
        } else {
            "the system's authorities"
        };
        let authorities = Authorities {
            pem: authorities,
            named,
            fix: "give its authority with --ca FILE",
        };
        let connection = |certificate| Connection::new(&base, &authorities, certificate, PATIENCE);
        Ok(Self {
            plain: connection(None)?,
            certified: connection(certificate)?,
            always_presents: false,
        })
    }

    /// Returns a probe that presents the certificate with every request.
    pub(super) fn presenting_always(&self) -> Self {
        Self {
            plain: self.certified.clone(),
            always_presents: true,
            ..self.clone()
        }
    }

    pub(super) const fn always_presents(&self) -> bool {
        self.always_presents
    }

    /// Returns the URL of a path, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> Url {
        self.plain.url(path)
    }

    /// Returns the scheme and the authority, as a client would write them.
    pub(super) const fn origin(&self) -> &Url {
        self.plain.base()
    }

    pub(super) async fn ask(&self, request: Request) -> Outcome {
        self.plain.send(request, LARGEST_BODY).await
    }

    pub(super) async fn ask_with_certificate(&self, request: Request) -> Outcome {
        self.certified.send(request, LARGEST_BODY).await
    }
}

const PATIENCE: Duration = Duration::from_secs(15);
/// Clients do not read longer answers from a token endpoint.
const LARGEST_BODY: usize = 64 * 1024;
