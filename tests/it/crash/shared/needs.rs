//! Which manifest needs which blob, and since when. A blob that a manifest needs is not gone.

#[derive(Default)]
pub(super) struct Needs(Vec<Need>);

struct Need {
    manifest: String,
    blob: String,
    /// The manifest is gone since this moment.
    ended: Option<u64>,
    /// The manifest is there since this moment, unless its deletion has begun.
    acknowledged: Option<u64>,
    is_doomed: bool,
}

impl Needs {
    /// The push of the manifest begins.
    pub(super) fn begin(&mut self, manifest: &str, blob: &str) {
        self.0.push(Need {
            manifest: manifest.to_owned(),
            blob: blob.to_owned(),
            ended: None,
            acknowledged: None,
            is_doomed: false,
        });
    }

    pub(super) fn acknowledge(&mut self, manifest: &str, now: u64) {
        self.of(manifest)
            .for_each(|need| need.acknowledged = need.acknowledged.or(Some(now)));
    }

    /// The deletion of the manifest begins.
    pub(super) fn doom(&mut self, manifest: &str) {
        self.of(manifest).for_each(|need| need.is_doomed = true);
    }

    /// The manifest is gone, or was rejected.
    pub(super) fn end(&mut self, manifest: &str, now: u64) {
        self.of(manifest).for_each(|need| need.ended = Some(now));
    }

    pub(super) fn forget_ended(&mut self) {
        self.0.retain(|need| need.ended.is_none());
    }

    /// Whether a manifest may have needed the blob since then.
    pub(super) fn may_be(&self, blob: &str, since: u64) -> bool {
        self.0
            .iter()
            .any(|need| need.blob == blob && need.ended.is_none_or(|end| end > since))
    }

    /// Whether a manifest has needed the blob since then, without a pause.
    pub(super) fn are_certain(&self, blob: &str, since: u64) -> bool {
        let is_there = |need: &Need| !need.is_doomed && need.acknowledged.is_some_and(|then| then < since);
        self.0.iter().any(|need| need.blob == blob && is_there(need))
    }

    fn of(&mut self, manifest: &str) -> impl Iterator<Item = &mut Need> {
        self.0.iter_mut().filter(move |need| need.manifest == manifest)
    }
}
