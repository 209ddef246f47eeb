//! Which registry is meant: the authority that clients use, whatever each of them puts around it.

use std::fmt;
use std::str::FromStr;

/// `host` or `host:port`, in lower case, as clients write it in front of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    #[error("no registry is named")]
    Empty,
    #[error("a registry is named by its host, with a port if it has one, as registry.example.org:5000")]
    Malformed,
}

impl RegistryHost {
    /// The registry of an image's name. One that names none is Docker's own.
    pub fn of_image(image: &str) -> Result<Self, InvalidHost> {
        let first = image.split('/').next().unwrap_or_default();
        let names_a_host = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        if names_a_host { first.parse() } else { Ok(Self("docker.io".to_owned())) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the port: what a registry is called by tokens that are for it, unless somebody says otherwise.
    #[must_use]
    pub fn name(&self) -> &str {
        let port = |(_, port): &(&str, &str)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        self.0.rsplit_once(':').filter(port).map_or(&self.0, |(name, _)| name)
    }

    /// Whether a token with this audience is meant for this registry: its host, with or without port, as such or as a URL.
    #[must_use]
    pub fn is_audience(&self, audience: &str) -> bool {
        let bare = ["https://", "http://", "oci://"].iter().find_map(|scheme| audience.strip_prefix(scheme)).unwrap_or(audience);
        let authority = bare.split('/').next().unwrap_or_default();
        authority.eq_ignore_ascii_case(&self.0) || authority.eq_ignore_ascii_case(self.name())
    }
}

/// From what a client calls the registry: `host:port`, or a URL of which the rest is left out.
impl FromStr for RegistryHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let text = text.trim();
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = bare.split('/').next().unwrap_or_default();
        match authority {
            "" => Err(InvalidHost::Empty),
            _ if authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b)) => Ok(Self(authority.to_ascii_lowercase())),
            _ => Err(InvalidHost::Malformed),
        }
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_by_its_authority() {
        for (text, expected) in [
            ("registry.example.org", "registry.example.org"),
            ("Registry.Example.org:5000\n", "registry.example.org:5000"),
            ("https://registry.example.org", "registry.example.org"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("registry.example.org/team/app", "registry.example.org"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(text.parse::<RegistryHost>().unwrap().as_str(), expected, "{text}");
        }
        assert_eq!("".parse::<RegistryHost>(), Err(InvalidHost::Empty));
        assert_eq!("https://".parse::<RegistryHost>(), Err(InvalidHost::Empty));
        assert_eq!("a b".parse::<RegistryHost>(), Err(InvalidHost::Malformed));
        assert_eq!("user@a".parse::<RegistryHost>(), Err(InvalidHost::Malformed));
    }

    #[test]
    fn an_images_registry_is_what_stands_before_its_first_slash() {
        for (image, expected) in [
            ("registry.example.org/app/web:v1", "registry.example.org"),
            ("127.0.0.1:5000/a@sha256:00", "127.0.0.1:5000"),
            ("localhost/a", "localhost"),
            ("nginx", "docker.io"),
            ("nginx:1.27", "docker.io"),
            ("library/nginx", "docker.io"),
        ] {
            assert_eq!(RegistryHost::of_image(image).unwrap().as_str(), expected, "{image}");
        }
    }

    #[test]
    fn a_tokens_audience_names_the_registry_with_or_without_port_and_scheme() {
        let host: RegistryHost = "r.example:5000".parse().unwrap();
        assert_eq!(host.name(), "r.example");
        for audience in ["r.example", "r.example:5000", "https://r.example", "https://R.example:5000/", "oci://r.example/team/app"] {
            assert!(host.is_audience(audience), "{audience}");
        }
        for audience in ["", "example", "r.example.evil", "https://api.r.example", "sts.amazonaws.com", "r.example:5001", "ftp://r.example"]
        {
            assert!(!host.is_audience(audience), "{audience}");
        }
        assert_eq!("[::1]".parse::<RegistryHost>().unwrap().name(), "[::1]");
        assert_eq!("[::1]:5000".parse::<RegistryHost>().unwrap().name(), "[::1]");
    }
}
