//! X.509-SVIDs and plain client certificates: reading a leaf, and judging its chain by one trust domain's (or one entry's)
//! authorities. The only place that knows X.509 path building. It never chooses the authorities: whoever calls has looked at the
//! leaf's SPIFFE ID and brings those of that trust domain and no other.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>, RFC 5280 6.

mod authorities;
mod claims;
mod leaf;
mod rejected;
mod verify;

pub use authorities::X509Authorities;
pub use leaf::Leaf;
pub use rejected::Rejected;
pub use verify::{VerifiedChain, verify_plain, verify_svid};
