//! The types of the OCI image and distribution specifications. They are parsed once at the edge, and no plain
//! strings are used for them after that. Nothing here does I/O.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>,
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md>

mod annotations;
mod condition;
mod descriptor;
mod digest;
mod error_code;
mod manifest;
mod media_type;
mod name;
mod range;
mod reference;

pub use annotations::Annotations;
pub use condition::Condition;
pub use descriptor::{Descriptor, Flaw, Place, Referred};
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use error_code::ErrorCode;
pub use manifest::{InvalidManifest, Manifest};
pub use media_type::ManifestType;
pub use name::{InvalidName, RepositoryName};
pub use range::{ByteRange, ContentRange, InvalidContentRange, RangeRequest};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};
