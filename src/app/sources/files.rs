//! Files that are read only when a source fetches. A missing one is a warning, since it may appear later.

use super::opening::Opening;
use crate::config::{Mistake, Warning};
use crate::file_error::FileError;
use crate::trust::source::{self, CaSource, EndpointProfile, FederationSettings, OidcSettings};

impl Opening<'_> {
    /// These files are read at each fetch, so they may appear later.
    pub(super) fn files_of_fetching(&mut self, key: &str, settings: &OidcSettings) {
        match settings.ca.as_ref().map(|ca| (ca, ca.check())) {
            Some((CaSource::File(_), Err(why))) => {
                self.warnings.push(Warning::new(
                    format!("{key}.certificateAuthorityFile"),
                    why.to_string(),
                ));
            }
            // Inline text cannot become valid later.
            Some((CaSource::Inline(_), Err(why))) => {
                self.mistakes.push(Mistake::new(
                    format!("{key}.certificateAuthority"),
                    why.to_string(),
                ));
            }
            Some((_, Ok(()))) | None => {}
        }
        if let Some(path) = &settings.bearer_token_file
            && let Err(why) = std::fs::metadata(path)
        {
            let what = format!(
                "the file {} cannot be read: {}",
                path.display(),
                FileError::new(path, &why)
            );
            self.warnings
                .push(Warning::new(format!("{key}.bearerTokenFile"), what));
        }
    }

    /// These files are also read when they are needed.
    pub(super) fn files_of_federation(&mut self, key: &str, settings: &FederationSettings) {
        let (name, checked) = match &settings.profile {
            EndpointProfile::Web { ca } => (
                "certificateAuthorityFile",
                ca.as_ref().map_or(Ok(()), CaSource::check),
            ),
            EndpointProfile::Spiffe { bootstrap, .. } => {
                ("bootstrapFile", source::check_bootstrap(bootstrap))
            }
        };
        if let Err(why) = checked {
            self.warnings
                .push(Warning::new(format!("{key}.{name}"), why.to_string()));
        }
    }
}
