//! Requests end to end, over the store in memory.
