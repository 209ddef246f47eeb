//! The query string of a request. Values are percent-decoded; a `+` stays a plus, since media types have one
//! and nothing that is asked for has a space.

use super::fault::Fault;
use super::path::clean;
use crate::limits::PAGE_ENTRIES;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What has to be written as `%XX` in the value of a link's query.
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

/// The parameters in the order in which they came.
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

    /// The first value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same of a value that is a name or a digest. Refuses what neither can have in it.
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

    /// How much is asked for by `n` and `last` (distribution-spec, Listing Tags).
    pub(super) fn page(&self) -> Result<Wanted<'_>, Fault> {
        let limit = match self.get("n") {
            None => PAGE_ENTRIES,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // What overflows is more than a page in any case.
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
    /// Empty: from the beginning.
    pub(super) after: &'a str,
}

impl Wanted<'_> {
    /// The value of `Link` (RFC 8288) behind a page that ended with `last`.
    pub(super) fn next(self, path: &str, last: &str) -> String {
        let limit = self.limit.to_string();
        link(path, [("last", last), ("n", limit.as_str())])
    }
}

/// A relative link to the next page: the client knows better than we under which address it found us.
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
