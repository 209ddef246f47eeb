//! Tests of all sources together.

mod chaos;
mod publisher;
mod strangers;
mod waiting;
