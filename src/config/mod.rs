//! Turns a file into settings. The format is JSON or YAML with zot's keys and our own. Unknown keys are
//! mistakes.
//!
//! Three steps, and every mistake of all three is reported at once: `document` reads the text and holds it
//! against the schema of the `raw` types, `raw` names the keys, `interpret` makes a [`Config`] in which invalid
//! states cannot be written down.

mod distributions;
mod document;
mod interpret;
mod mentions;
mod not_built;
pub mod raw;
mod reference;
mod schema;
mod settings;
mod values;
mod warning;
mod weak;
mod window;

pub use raw::{Level, LogFormat};
pub use reference::reference;
pub use settings::{
    BucketPlace, CertificateConfig, Collecting, Config, DomainConfig, DomainSource, Environment,
    FixedSettings, IssuerConfig, IssuerKeys, Listen, LiveSettings, Opened, Scrubbing, StorePlace, TokenKeys,
    TokenServerConfig, WaysIn,
};
pub use warning::{ALWAYS_LOGGED, Warning};
pub use window::Window;

use crate::file_error::FileError;
use mentions::Mentions;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake: its place, the problem and the fix. It never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, such as `http.auth.bearer.oidc[0].issuer`. Empty for the whole file.
    pub key: String,
    pub what: String,
}

impl Mistake {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
        }
    }

    /// Whether the other mistake is at the same key, or one below or above it, so that this one probably
    /// caused it.
    fn explains(&self, other: &Self) -> bool {
        let below = |a: &str, b: &str| {
            a.strip_prefix(b)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        below(&self.key, &other.key) || below(&other.key, &self.key)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.key, self.what)
        }
    }
}

/// All mistakes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub file: PathBuf,
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(
            f,
            "{}: {count} mistake{}",
            self.file.display(),
            if count == 1 { "" } else { "s" }
        )?;
        self.mistakes
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Invalid {}

/// Reads and checks a file. Relative paths start from the file's folder. It opens no connection and no other
/// file, except the pod's token if the issuer must be found in it.
///
/// `further` finds more mistakes in the parts of a wrong file that could be understood, so that a missing
/// certificate is reported together with a misspelt key.
pub fn load(
    file: &Path,
    environment: Environment,
    further: impl FnOnce(Config) -> Vec<Mistake>,
) -> Result<Config, Invalid> {
    let invalid = |mistakes| Invalid {
        file: file.to_owned(),
        mistakes,
    };
    let text = std::fs::read_to_string(file).map_err(|why| {
        invalid(vec![Mistake::new(
            "",
            format!("cannot be read: {}", FileError::new(file, &why)),
        )])
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    match draft(&text, folder, environment) {
        (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
        (config, mistakes) => Err(invalid(with_further(
            mistakes,
            config.map(further).unwrap_or_default(),
        ))),
    }
}

/// Checks a configuration's text. Relative paths start from `folder`. `endpoint_socket` is the Workload API's
/// default address.
pub fn parse(text: &str, folder: &Path, endpoint_socket: Option<String>) -> Result<Config, Vec<Mistake>> {
    parse_in(
        text,
        folder,
        Environment {
            endpoint_socket,
            ..Environment::default()
        },
    )
}

/// Like [`parse`], with a whole environment.
pub fn parse_in(text: &str, folder: &Path, environment: Environment) -> Result<Config, Vec<Mistake>> {
    match draft(text, folder, environment) {
        (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
        (_, mistakes) => Err(mistakes),
    }
}

/// The parts of a configuration that could be understood, and all its mistakes. A draft with mistakes must
/// not be served.
fn draft(text: &str, folder: &Path, environment: Environment) -> (Option<Config>, Vec<Mistake>) {
    let mut document = match document::read(text) {
        Ok(document) => document,
        Err(mistakes) => return (None, mistakes),
    };
    let mut mistakes = Vec::new();
    let mentions = Mentions::of(&document);
    distributions::rewrite(&mut document, &mut mistakes);
    let mut warnings = not_built::strip(&mut document, &mut mistakes);
    warnings.extend(no_tls(&mut document));
    schema::check::<raw::File>(&mut document, &mut mistakes);
    match serde_json::from_value(document) {
        Ok(raw) => {
            let (config, further) = interpret::interpret(
                raw,
                &interpret::Surroundings::new(folder, environment, mentions),
                warnings,
            );
            (Some(config), with_further(mistakes, further))
        }
        Err(_) if !mistakes.is_empty() => (None, mistakes),
        Err(why) => (None, vec![Mistake::new("", why.to_string())]),
    }
}

/// As in zot, an object without keys means no TLS. An object with empty keys, which a template may write, is
/// reported as a mistake later.
fn no_tls(document: &mut Value) -> Option<Warning> {
    let http = not_built::lookup(document, &["http"])?.as_object()?;
    let mut written = http.iter().filter(|(key, _)| key.eq_ignore_ascii_case("tls"));
    let (_, tls) = written.next()?;
    // Two spellings of one key are reported as a mistake later.
    let empty = tls.as_object()?.is_empty() && written.next().is_none();
    empty.then(|| {
        not_built::take(document, "http.tls");
        Warning::new("http.tls", "is empty, so the registry uses plain HTTP")
    })
}

/// Removes further mistakes that the first ones probably caused.
fn with_further(mut first: Vec<Mistake>, mut further: Vec<Mistake>) -> Vec<Mistake> {
    further.retain(|further| !first.iter().any(|first| first.explains(further)));
    first.append(&mut further);
    first
}

#[cfg(test)]
mod tests;
