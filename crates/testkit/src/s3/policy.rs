//! The policy that users are told to give the registry.

use super::Place;
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/how-to/buckets.md");

/// The policy of docs/how-to/buckets.md for the first bucket of a place. Its objects are those with keys like
/// `registry/*`.
pub fn documented_policy(objects: &str) -> Value {
    let (_, rest) = PAGE.split_once("```json\n").expect("the page has a policy");
    let (policy, _) = rest.split_once("```").expect("the policy ends");
    let policy = policy
        .replace(":::images", &format!(":::{}", Place::BUCKET))
        .replace("registry/*", objects);
    serde_json::from_str(&policy).expect("the policy is JSON")
}
