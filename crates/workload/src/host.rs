//! The registry that a client means: its host, and its port and scheme if they are given.

use std::fmt;
use std::str::FromStr;

/// A registry as clients write it: `registry.example.org:5000`, or a URL, whose path is dropped. The name is
/// in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost {
    name: String,
    port: Option<u16>,
    scheme: Option<Scheme>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scheme {
    Https,
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    #[error("expected the registry's host, found nothing")]
    Empty,
    #[error("expected the registry's host, with its port if it has one, as in registry.example.org:5000")]
    Malformed,
}

impl RegistryHost {
    /// Returns the registry of an image name. A name without a registry means Docker Hub.
    pub fn of_image(image: &str) -> Result<Self, InvalidHost> {
        let first = image.split('/').next().unwrap_or_default();
        let names_a_host = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        if names_a_host {
            first.parse()
        } else {
            Ok(Self {
                name: "docker.io".to_owned(),
                port: None,
                scheme: None,
            })
        }
    }

    /// Whether both mean the same registry. The default port is 443, or 80 with `http://`. Schemes are
    /// compared only if both have one.
    ///
    /// A service on another port of the same host may belong to someone else, so the port is always compared.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.is_near(other)
            && self.effective_port() == other.effective_port()
            && self.scheme.or(other.scheme) == other.scheme.or(self.scheme)
    }

    /// Whether both have the same host. Port and scheme are ignored.
    #[must_use]
    pub fn is_near(&self, other: &Self) -> bool {
        self.name == other.name
    }

    /// Whether this audience names this registry, with or without `https://`, `http://` or `oci://`.
    #[must_use]
    pub fn is_audience(&self, audience: &str) -> bool {
        audience.parse::<Self>().is_ok_and(|named| named.is(self))
    }

    /// Returns the audience of a token for this registry: the host, with its port unless that is the default.
    /// Flux has the same default.
    #[must_use]
    pub fn audience(&self) -> String {
        let default = Self {
            port: None,
            ..self.clone()
        };
        if self.is(&default) {
            self.name.clone()
        } else {
            self.authority()
        }
    }

    /// Returns the host, and the port if one is given, without the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        self.port
            .map_or_else(|| self.name.clone(), |port| format!("{}:{port}", self.name))
    }

    /// Whether it begins with `http://`.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.scheme == Some(Scheme::Http)
    }

    fn effective_port(&self) -> u16 {
        self.port.unwrap_or(if self.is_plain_http() { 80 } else { 443 })
    }
}

impl FromStr for RegistryHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let text = text.trim().to_ascii_lowercase();
        let (scheme, rest) = match text.split_once("://") {
            None | Some(("oci", _)) => (None, text.strip_prefix("oci://").unwrap_or(&text)),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(_) => return Err(InvalidHost::Malformed),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        // An IPv6 address in brackets contains colons.
        let after_address = authority.rfind(']').map_or(0, |end| end + 1);
        let colon = authority
            .get(after_address..)
            .and_then(|rest| rest.find(':'))
            .map(|at| after_address + at);
        let (name, port) = colon
            .and_then(|at| authority.split_at_checked(at))
            .unwrap_or((authority, ""));
        let port = port
            .strip_prefix(':')
            .map(|port| port.parse::<u16>().map_err(|_| InvalidHost::Malformed))
            .transpose()?;
        match name {
            "" if port.is_none() => Err(InvalidHost::Empty),
            "" => Err(InvalidHost::Malformed),
            _ if name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b)) =>
            {
                Ok(Self {
                    name: name.to_owned(),
                    port,
                    scheme,
                })
            }
            _ => Err(InvalidHost::Malformed),
        }
    }
}

/// Shows it as given, without the path.
impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Some(Scheme::Https) => "https://",
            Some(Scheme::Http) => "http://",
            None => "",
        };
        write!(f, "{scheme}{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> RegistryHost {
        text.parse().unwrap()
    }

    #[test]
    fn a_registry_is_parsed_as_clients_write_it() {
        for (text, shown, audience) in [
            (
                "registry.example.org",
                "registry.example.org",
                "registry.example.org",
            ),
            (
                "Registry.Example.org:5000\n",
                "registry.example.org:5000",
                "registry.example.org:5000",
            ),
            (
                "https://registry.example.org",
                "https://registry.example.org",
                "registry.example.org",
            ),
            (
                "https://registry.example.org:443/v2/",
                "https://registry.example.org:443",
                "registry.example.org",
            ),
            (
                "http://registry.example.org:443",
                "http://registry.example.org:443",
                "registry.example.org:443",
            ),
            (
                "HTTP://registry.example.org:80",
                "http://registry.example.org:80",
                "registry.example.org",
            ),
            (
                "https://index.docker.io/v1/",
                "https://index.docker.io",
                "index.docker.io",
            ),
            (
                "oci://registry.example.org/team/app",
                "registry.example.org",
                "registry.example.org",
            ),
            ("[::1]:5000", "[::1]:5000", "[::1]:5000"),
            ("[::1]", "[::1]", "[::1]"),
        ] {
            assert_eq!(
                (host(text).to_string().as_str(), host(text).audience().as_str()),
                (shown, audience),
                "{text}"
            );
        }
        for (text, why) in [
            ("", InvalidHost::Empty),
            ("https://", InvalidHost::Empty),
            (":5000", InvalidHost::Malformed),
            ("a b", InvalidHost::Malformed),
            ("user@a", InvalidHost::Malformed),
            ("a:port", InvalidHost::Malformed),
            ("a:70000", InvalidHost::Malformed),
            ("ftp://a", InvalidHost::Malformed),
        ] {
            assert_eq!(text.parse::<RegistryHost>(), Err(why), "{text}");
        }
    }

    #[test]
    fn an_images_registry_is_the_part_before_its_first_slash() {
        for (image, expected) in [
            ("registry.example.org/app/web:v1", "registry.example.org"),
            ("127.0.0.1:5000/a@sha256:00", "127.0.0.1:5000"),
            ("localhost/a", "localhost"),
            ("nginx", "docker.io"),
            ("nginx:1.27", "docker.io"),
            ("library/nginx", "docker.io"),
        ] {
            assert_eq!(
                RegistryHost::of_image(image).unwrap().to_string(),
                expected,
                "{image}"
            );
        }
    }

    #[test]
    fn an_audience_names_a_registry_by_host_and_port_and_by_the_scheme_where_both_have_one() {
        for (registry, audience, same) in [
            ("r.example:5000", "r.example:5000", true),
            ("r.example:5000", "https://R.example:5000/", true),
            ("r.example:5000", "oci://r.example:5000/team/app", true),
            ("r.example:5000", "http://r.example:5000", true),
            ("https://r.example:5000", "http://r.example:5000", false),
            ("r.example:5000", "r.example", false),
            ("r.example", "r.example:5000", false),
            ("r.example:5000", "r.example:5001", false),
            ("r.example:5000", "https://r.example", false),
            ("r.example", "r.example:443", true),
            ("r.example", "https://r.example:443", true),
            ("r.example", "http://r.example", false),
            ("http://r.example", "r.example:80", true),
            ("http://r.example", "r.example", false),
            ("r.example", "", false),
            ("r.example", "example", false),
            ("r.example", "r.example.evil", false),
            ("r.example", "https://api.r.example", false),
            ("r.example", "user@r.example", false),
            ("r.example", "ftp://r.example", false),
        ] {
            assert_eq!(
                host(registry).is_audience(audience),
                same,
                "{registry} {audience}"
            );
        }
    }
}
