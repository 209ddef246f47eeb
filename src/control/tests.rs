//! Questions and answers over a real control socket.

use super::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// Asks the server to count. It is the only question in these tests.
#[derive(Debug, Serialize, Deserialize)]
struct Count {
    to: u8,
}

impl Question for Count {
    const NAME: &'static str = "count";
    const PATIENCE: Duration = Duration::from_secs(60);
    type Progress = u8;
    type Answer = String;

    fn is_valid(&self) -> bool {
        self.to > 0
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Unknown {}

impl Question for Unknown {
    const NAME: &'static str = "unknown";
    const PATIENCE: Duration = Duration::from_secs(60);
    type Progress = ();
    type Answer = ();
}

/// Waits until the server in this folder accepts connections.
async fn serves(folder: &Path) {
    while tokio::net::UnixStream::connect(folder.join(SOCKET))
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
}

async fn with_server<T>(answers: Answers, test: impl AsyncFnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let testing = async {
        serves(folder.path()).await;
        test(folder.path()).await
    };
    tokio::select! {
        served = serve(folder.path(), answers) => panic!("{:?}", served.map(drop)),
        tested = testing => tested,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is too many")]
struct TooMany(u8);

async fn count(to: u8, updates: Updates<Count>) -> Result<String, TooMany> {
    (1..=to).for_each(|number| updates.send(number));
    if to == 9 {
        Err(TooMany(to))
    } else {
        Ok(format!("counted to {to}"))
    }
}

#[tokio::test]
async fn a_command_gets_the_progress_and_then_the_answer_or_the_servers_reason() {
    let answers = Answers::default().with(|Count { to }, updates| count(to, updates));
    assert_eq!(answers.commands(), "`wharfinger count`");
    with_server(answers, async |folder| {
        let mut seen = Vec::new();
        let answer = ask(folder, &Count { to: 3 }, |number| seen.push(number)).await;
        assert_eq!((answer, seen), (Ok("counted to 3".to_owned()), vec![1, 2, 3]));
        let failed = ask(folder, &Count { to: 9 }, |_| ()).await;
        assert_eq!(failed.as_ref().unwrap_err().to_string(), "9 is too many");
        assert_eq!(failed, Err(AskError::Failed(Reason::of(&TooMany(9)))));
        let invalid = ask(folder, &Count { to: 0 }, |_| ()).await;
        assert_eq!(invalid, Err(AskError::OtherVersion));
        let unknown = ask(folder, &Unknown {}, |()| ()).await;
        assert_eq!(unknown, Err(AskError::OtherVersion));
    })
    .await;
    let empty = tempfile::tempdir().unwrap();
    let why = ask(empty.path(), &Unknown {}, |()| ()).await.unwrap_err();
    assert!(why.to_string().ends_with("there is no such socket"), "{why}");
}

#[tokio::test]
async fn the_work_stops_when_the_command_ends() {
    let (alive, mut stopped) = mpsc::channel::<()>(1);
    let answers = Answers::default().with(move |Count { to }, updates: Updates<Count>| {
        let alive = alive.clone();
        async move {
            updates.send(to);
            std::future::pending::<()>().await;
            drop(alive);
            Ok::<_, TooMany>(String::new())
        }
    });
    with_server(answers, async |folder| {
        let (begun, mut begins) = mpsc::channel(1);
        let asked = Count { to: 1 };
        tokio::select! {
            answer = ask(folder, &asked, |number| begun.try_send(number).unwrap()) => panic!("{answer:?}"),
            begun = begins.recv() => assert_eq!(begun, Some(1)),
        }
    })
    .await;
    // The handler is the last one that holds the sender.
    assert_eq!(stopped.recv().await, None);
}
