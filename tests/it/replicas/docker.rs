//! docker through a round robin, while one of three replicas is killed every ten seconds.

use super::cluster::Cluster;
use crate::crash::http::Http;
use crate::harness::Docker;
use http::Method;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How many of the pushed images docker pulls at the end. All of them are read without it.
const PULLED: usize = 5;
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
    let end = Instant::now() + Duration::from_secs(super::seconds(25));
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
    for (image, _) in pushed.iter().rev().take(PULLED) {
        run(&docker, &["pull", image]).await.unwrap();
        run(&docker, &["rmi", "--force", image]).await.unwrap();
    }
    for replica in 0..3 {
        let http = Http::new(cluster.address_of(replica));
        for (_, tag) in &pushed {
            is_whole(&http, tag).await;
        }
    }
}

/// Checks that the image and all its blobs are there.
async fn is_whole(http: &Http, tag: &str) {
    let path = format!("/v2/docker/app/manifests/{tag}");
    let answer = http.ask(Method::GET, &path, "").await.expect("an answer");
    let image = answer.must_be(200, "docker's push exited with 0").json();
    let layers = image["layers"].as_array().unwrap();
    for blob in layers.iter().chain([&image["config"]]) {
        let digest = blob["digest"].as_str().unwrap();
        let read = http.must_have("docker/app", digest, "docker's push exited with 0");
        read.await.expect("an answer");
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
