//! podman and buildah, each with a store of its own on ordinary folders.

use super::bench::{Bench, USER, finished};
use super::{Client, Outcome, Way};

/// The two have the same commands.
pub(super) struct Podman(Bench);
pub(super) struct Buildah(Bench);

impl Client for Podman {
    async fn prepare(bench: Bench) -> Self {
        prepare(&bench);
        Self(bench)
    }

    async fn login(&self) {
        login("podman", &self.0).await;
    }

    async fn push(&self, repository: &str) -> Outcome {
        push("podman", &self.0, repository).await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        pull("podman", &self.0, repository).await
    }
}

impl Client for Buildah {
    async fn prepare(bench: Bench) -> Self {
        prepare(&bench);
        Self(bench)
    }

    async fn login(&self) {
        login("buildah", &self.0).await;
    }

    async fn push(&self, repository: &str) -> Outcome {
        push("buildah", &self.0, repository).await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        pull("buildah", &self.0, repository).await
    }
}

fn prepare(bench: &Bench) {
    bench.certificates(&format!(".config/containers/certs.d/{}", bench.host()));
    bench.write(".docker/config.json", &bench.docker_config(false));
}

async fn login(program: &str, bench: &Bench) {
    if bench.is(Way::Password) {
        let root = bench.text_path("store");
        let run = bench.text_path("run");
        let mut command = bench.command(program);
        command.args([
            "--root",
            &root,
            "--runroot",
            &run,
            "--storage-driver",
            "vfs",
            "login",
        ]);
        let outcome = finished(command.args(["-u", USER, "-p", bench.token(), &bench.host()])).await;
        assert!(outcome.success, "{program} login: {}", outcome.text);
    }
}

async fn push(program: &str, bench: &Bench, repository: &str) -> Outcome {
    // The path must be relative, since podman makes a name of it and rejects a temporary folder's.
    let pulled = in_store(program, bench, "store", &["pull", "--quiet", "oci:layout:v1"]).await;
    assert!(pulled.success, "{program} cannot read the image: {}", pulled.text);
    let id = pulled.text.trim().lines().last().unwrap_or_default().to_owned();
    in_store(
        program,
        bench,
        "store",
        &["push", &id, &format!("docker://{}", bench.image(repository))],
    )
    .await
}

async fn pull(program: &str, bench: &Bench, repository: &str) -> Outcome {
    in_store(
        program,
        bench,
        "other-store",
        &["pull", &format!("docker://{}", bench.image(repository))],
    )
    .await
}

async fn in_store(program: &str, bench: &Bench, store: &str, rest: &[&str]) -> Outcome {
    let root = bench.text_path(store);
    let run = bench.text_path("run");
    let mut command = bench.command(program);
    finished(
        command
            .args(["--root", &root, "--runroot", &run, "--storage-driver", "vfs"])
            .args(rest),
    )
    .await
}
