//! The address that the client used to reach the registry. It goes into the realm of a challenge. A request
//! must name exactly one.
//!
//! RFC 9110, 7.2 (`Host`, `:authority`) and RFC 9112, 3.2 (a request with several `Host` lines is answered
//! with 400).

use super::proxies::Forwarded;
use crate::limits::HOST_BYTES;
use http::header::HOST;
use http::request::Parts;
use std::fmt;
use std::net::Ipv6Addr;

/// Scheme and authority, as in `https://registry.example.org:5000`. All its characters may stand in a quoted
/// string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin(String);

impl Origin {
    /// Without the scheme.
    pub(super) fn authority(&self) -> &str {
        self.0
            .split_once("://")
            .map_or(&self.0, |(_, authority)| authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidHost {
    #[error("the request has several Host headers: send one")]
    Several,
    #[error("the request has no Host header: send one")]
    Missing,
    #[error("the Host header is not a host name or address with an optional port")]
    Malformed,
    #[error("the Host header and the request target name different hosts")]
    Contradiction,
}

/// The address that the client used. If `external_urls` has entries, it is the entry with the authority in
/// the request. Without such an entry it is the first one, since something between the client and the
/// registry has replaced the authority.
pub(super) fn origin(
    parts: &Parts,
    tls: bool,
    forwarded: &Forwarded,
    external_urls: &[String],
) -> Result<Origin, InvalidHost> {
    let own = authority(parts)?;
    let authority = forwarded.host.as_deref().map_or(Ok(own), well_formed)?;
    let scheme = forwarded.scheme.unwrap_or(if tls { "https" } else { "http" });
    let same = |url: &&String| {
        url.split_once("://")
            .is_some_and(|(_, rest)| rest.trim_end_matches('/').eq_ignore_ascii_case(authority))
    };
    match external_urls.iter().find(same).or_else(|| external_urls.first()) {
        Some(url) => Ok(Origin(url.trim_end_matches('/').to_owned())),
        None => Ok(Origin(format!("{scheme}://{authority}"))),
    }
}

/// The host in the request, if it is well-formed and there is only one.
pub(super) fn authority(parts: &Parts) -> Result<&str, InvalidHost> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts
        .next()
        .map(|value| value.to_str().map_err(|_| InvalidHost::Malformed))
        .transpose()?;
    if hosts.next().is_some() {
        return Err(InvalidHost::Several);
    }
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = match (target, host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            return Err(InvalidHost::Contradiction);
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(InvalidHost::Missing),
    };
    well_formed(authority)
}

/// Accepts a host with an optional port. This is narrower than RFC 3986, 3.2: user information is rejected,
/// and so are characters that could end a quoted string.
fn well_formed(authority: &str) -> Result<&str, InvalidHost> {
    let port = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(InvalidHost::Malformed)?;
            address.parse::<Ipv6Addr>().map_err(|_| InvalidHost::Malformed)?;
            if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or(InvalidHost::Malformed)?)
            }
        }
        None => {
            let (host, port) = authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port)));
            if host.is_empty()
                || !host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            {
                return Err(InvalidHost::Malformed);
            }
            port
        }
    };
    let short = authority.len() <= HOST_BYTES;
    let numbered =
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    if short && numbered {
        Ok(authority)
    } else {
        Err(InvalidHost::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn at(uri: &str, hosts: &[&str], tls: bool, external: &[&str]) -> Result<String, InvalidHost> {
        let external: Vec<String> = external.iter().map(ToString::to_string).collect();
        origin(&parts(uri, hosts), tls, &Forwarded::default(), &external).map(|origin| origin.to_string())
    }

    #[test]
    fn the_origin_is_what_the_client_used() {
        assert_eq!(
            at("/v2/", &["r.example:5000"], true, &[]),
            Ok("https://r.example:5000".into())
        );
        assert_eq!(
            at("/v2/", &["[::1]:5000"], false, &[]),
            Ok("http://[::1]:5000".into())
        );
        assert_eq!(
            at("https://r.example/v2/", &[], true, &[]),
            Ok("https://r.example".into()),
            "HTTP/2's :authority"
        );
        assert_eq!(
            at("http://r.example/v2/", &["R.example"], false, &[]),
            Ok("http://r.example".into())
        );
    }

    #[test]
    fn an_external_url_with_the_clients_authority_wins_over_the_others() {
        let external = ["https://out.example", "https://r.example/"];
        assert_eq!(
            at("/v2/", &["r.example"], false, &external),
            Ok("https://r.example".into())
        );
        assert_eq!(
            at("/v2/", &["10.0.0.1:5000"], false, &external),
            Ok("https://out.example".into())
        );
    }

    #[test]
    fn there_is_exactly_one_well_formed_host() {
        assert_eq!(at("/v2/", &["a", "b"], true, &[]), Err(InvalidHost::Several));
        assert_eq!(at("/v2/", &["a", "a"], true, &[]), Err(InvalidHost::Several));
        assert_eq!(at("/v2/", &[], true, &[]), Err(InvalidHost::Missing));
        assert_eq!(
            at("http://a/v2/", &["b"], true, &[]),
            Err(InvalidHost::Contradiction)
        );
        for bad in [
            "",
            "a b",
            "a\",x=\"",
            "a,b",
            "user@a",
            "a/b",
            "ä",
            "a:",
            "a:x",
            "a:65536",
            "a:1:2",
            "[::1",
            "[a:80",
            "[\",x=\":80",
            "[]",
            "[x]",
            "[::1]5",
            "[::1]:",
            "::1",
            ":5000",
            &"a".repeat(HOST_BYTES + 1),
        ] {
            assert_eq!(
                at("/v2/", &[bad], true, &[]),
                Err(InvalidHost::Malformed),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_trusted_proxy_names_scheme_and_host() {
        let origin_named = |scheme, host: Option<&str>, external: &[&str]| {
            let external: Vec<String> = external.iter().map(ToString::to_string).collect();
            let forwarded = Forwarded {
                scheme,
                host: host.map(str::to_owned),
                client: None,
            };
            origin(&parts("/v2/", &["10.0.0.1:5000"]), false, &forwarded, &external)
                .map(|origin| origin.to_string())
        };
        assert_eq!(
            origin_named(Some("https"), Some("r.example"), &[]),
            Ok("https://r.example".into())
        );
        assert_eq!(
            origin_named(Some("https"), Some("[2001:db8::1]:8443"), &[]),
            Ok("https://[2001:db8::1]:8443".into())
        );
        assert_eq!(
            origin_named(Some("https"), None, &[]),
            Ok("https://10.0.0.1:5000".into())
        );
        assert_eq!(
            origin_named(None, Some("r.example"), &[]),
            Ok("http://r.example".into())
        );
        assert_eq!(
            origin_named(
                Some("http"),
                Some("r.example"),
                &["https://out.example", "https://r.example"]
            ),
            Ok("https://r.example".into())
        );
        assert_eq!(
            origin_named(Some("https"), Some("a\",x=\"b"), &[]),
            Err(InvalidHost::Malformed)
        );
    }
}
