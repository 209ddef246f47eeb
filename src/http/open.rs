//! A registry without a login: anyone who can reach it may do anything. On loopback it is meant for programs
//! on this machine, but others can reach it in three ways. A web page can make its own name resolve to this
//! machine (DNS rebinding), so the `Host` must be a loopback name. A page of another site can send requests
//! here. A reverse proxy can forward requests from elsewhere.
//!
//! RFC 6761, 6.3 (`localhost`), RFC 9110, 15.5.20 (421).

use super::Cors;
use super::authority::{self, Origin};
use super::fault::Fault;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use std::net::{IpAddr, Ipv6Addr};

/// The callers that an open registry answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// Everyone who can reach it.
    Everyone,
    /// Programs on this machine, since the registry listens on loopback.
    Loopback {
        /// The hosts of `http.externalURL`, which are accepted as well.
        hosts: Vec<String>,
        /// Whether the operator admits reverse proxies and pages of other sites.
        allowed: bool,
    },
}

impl Open {
    /// An open registry that listens on loopback.
    #[must_use]
    pub fn on_loopback(external_urls: &[String], allowed: bool) -> Self {
        let host = |url: &String| Some(host(url.split_once("://")?.1).to_ascii_lowercase());
        Self::Loopback {
            hosts: external_urls.iter().filter_map(host).collect(),
            allowed,
        }
    }

    /// # Errors
    ///
    /// 421 if the request is for another host, 403 if another site or a proxy sent it.
    pub(super) fn admits(&self, parts: &Parts, origin: &Origin, cors: &Cors) -> Result<(), Fault> {
        let Self::Loopback { hosts, allowed } = self else {
            return Ok(());
        };
        let named = host(authority::authority(parts)?).to_ascii_lowercase();
        if !is_loopback(&named) && !hosts.contains(&named) {
            return Err(Fault::not_a_name_of_loopback());
        }
        match () {
            () if *allowed => Ok(()),
            () if FORWARDED.iter().any(|name| parts.headers.contains_key(*name)) => {
                Err(Fault::open_behind_a_proxy())
            }
            () if is_foreign(&parts.headers, origin, cors) => Err(Fault::open_to_another_site()),
            () => Ok(()),
        }
    }
}

/// Whether a browser sent the request for a page of another site that `http.allowOrigin` does not name. A `*`
/// there is not enough: it is meant for reading answers, but here a page could do everything.
fn is_foreign(headers: &HeaderMap, origin: &Origin, cors: &Cors) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let from = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    if from.is_some_and(|from| from.eq_ignore_ascii_case(origin.to_string().as_bytes()))
        || cors.names(headers)
    {
        return false;
    }
    from.is_some() || matches!(site, Some(b"cross-site" | b"same-site"))
}

/// Whether a host name or address always means this machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    };
    match address {
        Some(address) => address.to_canonical().is_loopback(),
        None => {
            let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Whether the host of a URL always means this machine.
#[must_use]
pub fn is_at_loopback(url: &str) -> bool {
    is_loopback(host(url.split_once("://").map_or(url, |(_, rest)| rest)))
}

/// An authority without its port.
fn host(authority: &str) -> &str {
    let authority = authority.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (host.starts_with('[') || !host.contains(':')) => host,
        _ => authority,
    }
}

/// The headers in which reverse proxies describe their clients.
const FORWARDED: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "via",
];

#[cfg(test)]
mod tests {
    use super::super::proxies::Forwarded;
    use super::*;
    use http::StatusCode;

    fn status(open: &Open, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let request = headers
            .iter()
            .fold(http::Request::builder().uri(uri), |request, (name, value)| {
                request.header(*name, *value)
            });
        let parts = request.body(()).unwrap().into_parts().0;
        let origin = authority::origin(&parts, false, &Forwarded::default(), &[]).unwrap();
        let cors = Cors::new(["http://ui.example".to_owned(), "*".to_owned()], false);
        open.admits(&parts, &origin, &cors)
            .map_or_else(|fault| fault.status, |()| StatusCode::OK)
            .as_u16()
    }

    #[test]
    fn loopback_is_recognized_by_name() {
        for name in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.255.0.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "::1",
        ] {
            assert!(is_loopback(name), "{name}");
        }
        for name in [
            "",
            "localhost.example",
            "notlocalhost",
            "127.0.0.1.example",
            "127.1",
            "2130706433",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "[::2]",
            "registry",
            "127.0.0.1.nip.io",
            "localhost..",
        ] {
            assert!(!is_loopback(name), "{name}");
        }
    }

    #[test]
    fn an_open_registry_on_loopback_answers_only_to_its_own_names() {
        let open = Open::on_loopback(&[], false);
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:80",
            "[::1]:5000",
            "a.b.localhost",
        ] {
            assert_eq!(status(&open, "/v2/", &[("host", host)]), 200, "{host}");
            assert_eq!(
                status(&open, &format!("http://{host}/v2/"), &[]),
                200,
                "{host} by HTTP/2"
            );
        }
        for host in [
            "evil.example",
            "evil.example:5000",
            "localhost.evil.example",
            "10.0.0.1",
            "[2001:db8::1]:5000",
        ] {
            assert_eq!(status(&open, "/v2/", &[("host", host)]), 421, "{host}");
            assert_eq!(
                status(&open, &format!("http://{host}/v2/"), &[]),
                421,
                "{host} by HTTP/2"
            );
            assert_eq!(status(&Open::Everyone, "/v2/", &[("host", host)]), 200, "{host}");
        }
        let named = Open::on_loopback(&["https://Registry.example:8443/".to_owned()], true);
        assert_eq!(status(&named, "/v2/", &[("host", "registry.example")]), 200);
        assert_eq!(status(&named, "/v2/", &[("host", "evil.example")]), 421);
    }

    #[test]
    fn other_sites_and_proxies_must_be_allowed_by_the_operator() {
        let host = ("host", "localhost:5000");
        for (header, expected) in [
            (("origin", "http://evil.example"), 403),
            (("origin", "null"), 403),
            (("origin", "http://localhost:3000"), 403),
            (("origin", "http://localhost:5000"), 200),
            (("origin", "http://ui.example"), 200),
            (("sec-fetch-site", "cross-site"), 403),
            (("sec-fetch-site", "same-site"), 403),
            (("sec-fetch-site", "same-origin"), 200),
            (("sec-fetch-site", "none"), 200),
            (("x-forwarded-for", "203.0.113.7"), 403),
            (("forwarded", "for=203.0.113.7"), 403),
            (("via", "1.1 proxy"), 403),
            (("user-agent", "docker"), 200),
        ] {
            assert_eq!(
                status(&Open::on_loopback(&[], false), "/v2/", &[host, header]),
                expected,
                "{header:?}"
            );
            assert_eq!(
                status(&Open::on_loopback(&[], true), "/v2/", &[host, header]),
                200,
                "{header:?}"
            );
        }
    }
}
