//! The query string of a request. Values are percent-decoded. A `+` stays a plus, since media types have one
//! and no parameter needs a space.

use super::fault::Fault;
use super::path::clean;
use crate::limits::PAGE_ENTRIES;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The characters that are percent-encoded in the query of a link.
const VALUE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b';');

/// The parameters in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// The first value with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value with this name, which must be a name or a digest. Rejects characters that neither may
    /// have.
    pub(super) fn named(&self, name: &str) -> Result<Option<&str>, Fault> {
        self.get(name)
            .map(|value| clean(value).map(|()| value))
            .transpose()
            .map_err(Fault::bad_encoding)
    }

    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The page that `n` and `last` ask for (distribution-spec, Listing Tags).
    pub(super) fn page(&self) -> Result<Wanted<'_>, Fault> {
        let limit = match self.get("n") {
            None => PAGE_ENTRIES,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number that overflows is larger than a page anyway.
                digits.parse().unwrap_or(PAGE_ENTRIES).min(PAGE_ENTRIES)
            }
            Some(_) => return Err(Fault::bad_page_size()),
        };
        Ok(Wanted {
            limit,
            after: self.get("last").unwrap_or_default(),
        })
    }
}

/// A page of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub(super) limit: usize,
    /// Empty for the first page.
    pub(super) after: &'a str,
}

impl Wanted<'_> {
    /// The `Link` (RFC 8288) to the page after the entry `last`.
    pub(super) fn next(self, path: &str, last: &str) -> String {
        let limit = self.limit.to_string();
        link(path, [("last", last), ("n", limit.as_str())])
    }
}

/// A link to the next page. It is relative, since only the client knows which address it used.
pub(super) fn link<'a>(path: &str, parameters: impl IntoIterator<Item = (&'static str, &'a str)>) -> String {
    let parameters: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, VALUE)))
        .collect();
    format!("<{path}?{}>; rel=\"next\"", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_a_plus_stays() {
        let query = Query::parse(Some(
            "digest=sha256%3Aab&&artifactType=application/x+json&artifactType=%2B&flag",
        ));
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(
            query.all("artifactType").collect::<Vec<_>>(),
            ["application/x+json", "+"]
        );
        assert_eq!((query.get("flag"), query.get("none")), (Some(""), None));
    }

    #[test]
    fn a_page_is_a_number_and_has_an_upper_bound() {
        let page = |text| Query::parse(Some(text)).page().ok().map(|wanted| wanted.limit);
        assert_eq!(page(""), Some(PAGE_ENTRIES));
        assert_eq!(page("n=0"), Some(0));
        assert_eq!(page("n=7"), Some(7));
        assert_eq!(page("n=99999999999999999999999999"), Some(PAGE_ENTRIES));
        for bad in ["n=", "n=-1", "n=+1", "n=x", "n=1.5"] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_next_page_is_a_relative_link() {
        assert_eq!(
            Wanted { limit: 2, after: "" }.next("/v2/_catalog", "a/b&c"),
            "</v2/_catalog?last=a/b%26c&n=2>; rel=\"next\""
        );
    }
}
