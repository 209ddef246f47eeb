//! What a policy can grant.

/// The four actions of zot's policies, and its one behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Read,
    Create,
    Update,
    Delete,
    /// Permits nothing: a deletion by digest is refused while several tags lead to the manifest.
    DetectManifestCollision,
}

impl Action {
    /// Those that permit something.
    pub const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Update, Self::Delete];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::DetectManifestCollision => "detectManifestCollision",
        }
    }
}
