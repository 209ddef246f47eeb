//! The questions that an operator may ask the running server, and how they travel over the control socket.
//!
//! A question is a POST of JSON to the path of its name. The answer has one JSON object per line. It may begin
//! with lines about the progress, and the last line has the answer or the reason why there is none.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A question. A new one implements this trait, and its handler is added to the app's
/// [`Answers`](super::Answers).
pub trait Question: Serialize + DeserializeOwned + Send + 'static {
    /// The name of the command that asks it.
    const NAME: &'static str;
    /// How long the server may be silent before the command stops waiting.
    const PATIENCE: Duration;
    /// What the server reports while it works. `()` if it answers at once.
    type Progress: Serialize + DeserializeOwned + Send + 'static;
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Whether the question can be answered as it was asked.
    fn is_valid(&self) -> bool {
        true
    }
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line<P, A> {
    Progress(P),
    Done(A),
    Failed(Reason),
}

/// Why the server could not answer the question, as text. The command gets only the text. The error itself
/// stays in the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    pub(super) fn of(error: &impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A line of the answer to `Q`.
pub(super) type LineOf<Q> = Line<<Q as Question>::Progress, <Q as Question>::Answer>;

/// Returns `None` if a path in the question is not UTF-8.
pub(super) fn encode<Q: Question>(question: &Q) -> Option<Vec<u8>> {
    serde_json::to_vec(question).ok()
}

/// Returns `None` for a question that this version's command does not ask.
pub(super) fn decode<Q: Question>(bytes: &[u8]) -> Option<Q> {
    serde_json::from_slice(bytes).ok().filter(Q::is_valid)
}

impl<P: Serialize + DeserializeOwned, A: Serialize + DeserializeOwned> Line<P, A> {
    pub(super) fn encode(&self) -> Option<Bytes> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        Some(line.into())
    }

    /// Returns `None` for a line of another version.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::BackupRequest;
    use crate::storage::Copied;

    #[test]
    fn a_question_and_its_lines_are_read_as_they_were_written() {
        let asked = |to: &str| BackupRequest {
            to: to.into(),
            hard_link: true,
        };
        let read = |question| decode::<BackupRequest>(&encode(&question).unwrap());
        assert_eq!(read(asked("/backup")), Some(asked("/backup")));
        assert_eq!(read(asked("backup")), None, "the path must be absolute");
        assert_eq!(decode::<BackupRequest>(b"{}"), None);
        for line in [
            LineOf::<BackupRequest>::Progress(Copied::default()),
            Line::Failed(Reason::of(&"the disk\nis full")),
        ] {
            let text = line.encode().unwrap();
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(Line::decode(&text), Some(line));
        }
        assert_eq!(LineOf::<BackupRequest>::decode(b"{\"other\":1}\n"), None);
    }
}
