//! What the bucket is set to, as far as it tells, and its clock.

use super::super::objects::Objects;
use super::report::{Finding, Found, Need, no, unknown, yes};
use serde::Deserialize;
use wharfinger_base::clock::Clock;

pub(super) async fn all(objects: &Objects) -> Vec<Finding> {
    let versioning = versioning(setting(objects, "versioning").await);
    let (expiry, uploads) = lifecycle(setting(objects, "lifecycle").await);
    vec![
        Finding::new("no versions are kept", Need::Nothing, versioning),
        Finding::new("no rule deletes objects", Need::Always, expiry),
        Finding::new("a rule ends old uploads", Need::Nothing, uploads),
        Finding::new("the clocks agree", Need::Nothing, clocks(objects).await),
    ]
}

/// What the bucket answers to a question about a setting. `Ok(None)` if it has none, or why it does not answer.
type Setting = Result<Option<String>, String>;

async fn setting(objects: &Objects, name: &str) -> Setting {
    let answered = objects.setting(name).await;
    answered.map_err(|why| objects.explain(&why))
}

fn versioning(setting: Setting) -> Found {
    match setting {
        Ok(Some(text)) if text.contains("<Status>Enabled</Status>") => no(
            "the bucket keeps old versions, which cost space: suspend that, or add a rule that removes old versions",
        ),
        Ok(_) => yes("the bucket keeps one version of an object"),
        Err(why) => unknown(why),
    }
}

fn lifecycle(setting: Setting) -> (Found, Found) {
    let text = match setting {
        Ok(Some(text)) => text,
        Ok(None) => {
            return (
                yes("the bucket has no rules"),
                no("add a rule that aborts incomplete multipart uploads after a week"),
            );
        }
        Err(why) => {
            // Those who must not read the rules can still use the bucket.
            return (yes(format!("not known: {why}")), unknown(why));
        }
    };
    let Ok(Lifecycle { rules }) = quick_xml::de::from_str(&text) else {
        let why = "the bucket's rules are not understood: look at them";
        return (yes(why), unknown(why));
    };
    let active = || rules.iter().filter(|rule| rule.status == "Enabled");
    let expiry = match active().any(Rule::deletes) {
        true => no("a rule of the bucket deletes objects by age, so images would be lost: remove it"),
        false => yes("no rule deletes objects by age"),
    };
    let uploads = match active().any(|rule| rule.abort_incomplete_multipart_upload.is_some()) {
        true => yes("a rule aborts incomplete multipart uploads"),
        false => no("add a rule that aborts incomplete multipart uploads after a week"),
    };
    (expiry, uploads)
}

#[derive(Deserialize)]
struct Lifecycle {
    #[serde(rename = "Rule", default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(default)]
    status: String,
    expiration: Option<Expiration>,
    abort_incomplete_multipart_upload: Option<serde::de::IgnoredAny>,
}

/// A rule may also remove only the markers of deleted versions.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Expiration {
    days: Option<String>,
    date: Option<String>,
}

impl Rule {
    fn deletes(&self) -> bool {
        let expiration = self.expiration.as_ref();
        expiration.is_some_and(|one| one.days.is_some() || one.date.is_some())
    }
}

async fn clocks(objects: &Objects) -> Found {
    if let Err(why) = objects.list("", "", 1).await {
        return unknown(objects.explain(&why));
    }
    let ours = Clock::system().now();
    let theirs = objects.now();
    let difference = ours.since(theirs).max(theirs.since(ours)).as_secs();
    match difference {
        // The store's time has whole seconds.
        0..=1 => yes("the store and this machine differ by a second at most"),
        2..60 => yes(format!("the store and this machine differ by {difference} s")),
        _ => no(format!(
            "the store and this machine differ by {difference} s: requests fail beyond 15 minutes, so correct the clock"
        )),
    }
}
