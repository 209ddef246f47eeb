//! What zot's users write, what they mistype, and what strangers' claims may do to it.
use super::*;
