//! The table of the questions that a server answers.

use super::question::{Line, LineOf, Question, Reason, decode};
use bytes::Bytes;
use std::fmt;
use std::marker::PhantomData;
use tokio::sync::mpsc;

/// The questions that a server answers, each with its handler.
#[derive(Default)]
pub struct Answers(Vec<Row>);

struct Row {
    name: &'static str,
    answer: Box<Answer>,
}

/// Decodes a question and begins to answer it. Returns the lines of the answer.
type Answer = dyn Fn(&[u8]) -> Option<mpsc::Receiver<Bytes>> + Send + Sync;

impl Answers {
    /// Adds a question with its handler. The operator reads the handler's error. If the command ends, the
    /// handler's future is dropped.
    #[must_use]
    pub fn with<Q: Question, F, E>(
        mut self,
        handler: impl Fn(Q, Updates<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Q::Answer, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let answer = move |bytes: &[u8]| {
            let question = decode(bytes)?;
            let (lines, heard) = mpsc::channel(LINES);
            let updates = Updates {
                lines: lines.clone(),
                question: PhantomData,
            };
            tokio::spawn(finish::<Q>(handler(question, updates), lines));
            Some(heard)
        };
        self.0.push(Row {
            name: Q::NAME,
            answer: Box::new(answer),
        });
        self
    }

    /// The commands that this server answers, for messages.
    #[must_use]
    pub fn commands(&self) -> String {
        let commands: Vec<_> = self
            .0
            .iter()
            .map(|row| format!("`wharfinger {}`", row.name))
            .collect();
        match commands.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => commands.concat(),
        }
    }

    /// The handler for the path of a request.
    pub(super) fn at(&self, path: &str) -> Option<&Answer> {
        let name = path.strip_prefix('/')?;
        let row = self.0.iter().find(|row| row.name == name);
        row.map(|row| &*row.answer)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answers({})", self.commands())
    }
}

/// Sends the progress of an answer to the command.
pub struct Updates<Q> {
    lines: mpsc::Sender<Bytes>,
    question: PhantomData<fn(Q)>,
}

impl<Q: Question> Updates<Q> {
    /// Sends progress. If the command reads too slowly, some progress is dropped.
    pub fn send(&self, progress: Q::Progress) {
        let line: LineOf<Q> = Line::Progress(progress);
        drop(line.encode().map(|line| self.lines.try_send(line)));
    }
}

impl<Q> fmt::Debug for Updates<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updates")
    }
}

/// Waits for the answer and sends the last line.
async fn finish<Q: Question>(
    answering: impl Future<Output = Result<Q::Answer, impl fmt::Display>>,
    lines: mpsc::Sender<Bytes>,
) {
    let answer = tokio::select! {
        biased;
        answer = answering => answer,
        () = lines.closed() => {
            tracing::warn!("`wharfinger {}` ended before the registry finished, so the registry stopped the work", Q::NAME);
            return;
        }
    };
    let line: LineOf<Q> = match answer {
        Ok(answer) => Line::Done(answer),
        Err(why) => Line::Failed(Reason::of(&why)),
    };
    if let Some(line) = line.encode() {
        // The command may have ended already.
        drop(lines.send(line).await);
    }
}

/// How many lines wait for a command that does not read.
const LINES: usize = 16;
