//! The registry's vocabulary: what the OCI image and distribution specifications name, parsed once at the
//! edge. Past the edge no plain string means any of these. No I/O here.
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
