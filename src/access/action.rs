//! The actions of access control.

/// The four actions of zot's policies, its `detectManifestCollision`, which is a behaviour, and our `override`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Read,
    Create,
    Update,
    Delete,
    /// A behaviour, which permits nothing: a deletion by digest is rejected while several tags point to the
    /// manifest.
    DetectManifestCollision,
    /// Together with `update` or `delete`, also permits these for immutable tags.
    Override,
}

impl Action {
    /// The actions that permit something.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Override,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::DetectManifestCollision => "detectManifestCollision",
            Self::Override => "override",
        }
    }
}
