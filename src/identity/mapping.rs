//! From claims to username and groups.

/// Texts as they are in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingSettings {
    /// Name and expression. Each sees the ones before it as `vars.<name>`.
    pub variables: Vec<(String, String)>,
    /// Expression and the message that explains a `false`.
    pub validations: Vec<(String, String)>,
    pub username: Option<String>,
    pub groups: Option<String>,
}

/// A compiled mapping.
#[derive(Clone, Debug, Default)]
pub struct Mapping {}

impl Mapping {
    /// Reports every mistake.
    pub fn compile(_settings: &MappingSettings) -> Result<Self, Vec<InvalidMapping>> {
        Ok(Self {})
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct InvalidMapping {
    /// Which part, as in `validations[1].expression`.
    pub key: String,
    pub why: String,
}
