//! The accepted media types of manifests: two of OCI and two of Docker. Docker's schema 1 is not accepted.

use std::fmt;
use std::str::FromStr;

/// The type of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestType {
    OciManifest,
    OciIndex,
    DockerManifest,
    DockerManifestList,
}

impl ManifestType {
    pub const ALL: [Self; 4] = [
        Self::OciManifest,
        Self::OciIndex,
        Self::DockerManifest,
        Self::DockerManifestList,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerManifestList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Whether it lists manifests (an index or a manifest list) rather than a config and layers.
    #[must_use]
    pub const fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }
}

impl FromStr for ManifestType {
    type Err = ();

    /// Parses a media type. Parameters (`; charset=…`) and case are ignored.
    fn from_str(text: &str) -> Result<Self, ()> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(essence))
            .ok_or(())
    }
}

impl fmt::Display for ManifestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert_eq!(
            "Application/vnd.oci.image.index.v1+JSON; charset=utf-8".parse(),
            Ok(ManifestType::OciIndex)
        );
        for unknown in [
            "application/vnd.docker.distribution.manifest.v1+json",
            "application/json",
            "",
        ] {
            assert_eq!(unknown.parse::<ManifestType>(), Err(()));
        }
    }
}
