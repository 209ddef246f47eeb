//! docker through a round robin, while one of three replicas is killed every ten seconds.

use super::cluster::Cluster;
use crate::crash::http::Http;
use crate::harness::Docker;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const SECONDS: u64 = 45;
/// How long one push or pull may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_push_of_docker_that_exits_with_0_is_there_while_replicas_are_killed() {
    let Some(docker) = Docker::find().await else {
        return;
    };
    let Some(cluster) = Cluster::on_a_bucket(3, |_| {}).await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let killing = async {
        for replica in (0..3).cycle() {
            sleep(Duration::from_secs(10)).await;
            if Instant::now() > end {
                return;
            }
            cluster.kill(replica).await;
            cluster.restart(replica).await;
        }
    };
    let pushing = async {
        let mut pushed = Vec::new();
        let mut failed = Vec::new();
        for number in 0.. {
            if Instant::now() > end {
                break;
            }
            let image = format!("{}/docker/app:{number}", cluster.address());
            import(&docker, folder.path(), &image).await;
            match run(&docker, &["push", &image]).await {
                Ok(_) => pushed.push((image.clone(), format!("{number}"))),
                Err(why) => failed.push(why),
            }
            run(&docker, &["rmi", "--force", &image]).await.unwrap();
            if let Some((image, _)) = pushed.last() {
                // It may fail at this moment, and is repeated at the end.
                drop(run(&docker, &["pull", image]).await);
                drop(run(&docker, &["rmi", "--force", image]).await);
            }
        }
        (pushed, failed)
    };
    let ((), (pushed, failed)) = tokio::join!(killing, pushing);
    eprintln!(
        "{} pushes exited with 0, {} failed: {failed:#?}",
        pushed.len(),
        failed.len()
    );
    assert!(!pushed.is_empty(), "{failed:#?}");
    for (image, tag) in pushed {
        run(&docker, &["pull", &image]).await.unwrap();
        run(&docker, &["rmi", "--force", &image]).await.unwrap();
        for replica in 0..3 {
            let http = Http::new(cluster.address_of(replica));
            let found = http.manifest("docker/app", &tag).await.unwrap();
            assert!(found.is_some(), "{image} is not at replica {replica}");
        }
    }
}

/// Makes an image of one new file.
async fn import(docker: &Docker, folder: &Path, image: &str) {
    let mut content = vec![0; 300_000];
    fastrand::fill(&mut content);
    std::fs::write(folder.join("file"), content).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder).args(["-cf", "-", "file"]);
    let archive = tar.output().unwrap().stdout;
    let file = folder.join("file.tar");
    std::fs::write(&file, archive).unwrap();
    run(docker, &["import", file.to_str().unwrap(), image])
        .await
        .unwrap();
}

/// `Err` with what it printed if it failed.
async fn run(docker: &Docker, arguments: &[&str]) -> Result<(), String> {
    let mut command = tokio::process::Command::from(docker.command(arguments));
    let output = timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .map_err(|_| format!("{arguments:?} does not end"))?
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}
