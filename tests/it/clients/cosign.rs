//! cosign: a signature by its own key, and its verification. Nothing contacts another machine.

use super::bench::{Bench, USER, finished};
use super::{Client, Outcome, Way};
use std::path::PathBuf;
use tokio::process::Command;

pub(super) struct Cosign(Bench);

impl Client for Cosign {
    async fn prepare(bench: Bench) -> Self {
        bench.write(".docker/config.json", &bench.docker_config(false));
        let cosign = Self(bench);
        if !cosign.key().exists() {
            let prefix = cosign.key().with_extension("").display().to_string();
            let made =
                finished(&mut cosign.command(&["generate-key-pair", "--output-key-prefix", &prefix])).await;
            assert!(made.success, "cosign generate-key-pair: {}", made.text);
        }
        cosign
    }

    /// Another client pushes the image, since cosign pushes none.
    async fn before_push(&self, repository: &str) {
        self.0.site.push_image(repository).await;
    }

    async fn login(&self) {
        if self.0.is(Way::Password) {
            let outcome = self
                .0
                .run(
                    "cosign",
                    &["login", &self.0.host(), "-u", USER, "-p", self.0.token()],
                )
                .await;
            assert!(outcome.success, "cosign login: {}", outcome.text);
        }
    }

    async fn push(&self, repository: &str) -> Outcome {
        let image = self.by_digest(repository);
        let key = self.key().display().to_string();
        self.run(
            &[
                "sign",
                "--key",
                &key,
                "--use-signing-config=false",
                "--tlog-upload=false",
                "--yes",
            ],
            &image,
        )
        .await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        let key = self.key().with_extension("pub").display().to_string();
        let image = self.by_digest(repository);
        self.run(&["verify", "--key", &key, "--insecure-ignore-tlog"], &image)
            .await
    }
}

impl Cosign {
    fn by_digest(&self, repository: &str) -> String {
        format!("{}/{repository}@{}", self.0.host(), self.0.digest())
    }

    /// One key for all workloads, since the signer and the verifier have different homes.
    fn key(&self) -> PathBuf {
        self.0.site.app.setup.path("cosign.key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command("cosign");
        command.args(arguments).env("COSIGN_PASSWORD", "");
        command
    }

    async fn run(&self, arguments: &[&str], image: &str) -> Outcome {
        let mut command = self.command(arguments);
        match self.0.way {
            Way::Bearer => _ = command.args(["--registry-token", self.0.token()]),
            Way::Certificate => {
                _ = command.args([
                    "--registry-cacert",
                    "ca.pem",
                    "--registry-client-cert",
                    "client.pem",
                    "--registry-client-key",
                    "client.key",
                ]);
            }
            Way::Password | Way::IdentityToken | Way::Helper | Way::Anonymous => {}
        }
        finished(command.arg(image)).await
    }
}
