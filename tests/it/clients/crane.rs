//! crane.

use super::bench::{Bench, USER};
use super::{Client, Outcome, Way};

pub(super) struct Crane(Bench);

impl Client for Crane {
    async fn prepare(bench: Bench) -> Self {
        bench.write(".docker/config.json", &bench.docker_config(false));
        Self(bench)
    }

    async fn login(&self) {
        if self.0.is(Way::Password) {
            let outcome = self
                .0
                .run(
                    "crane",
                    &["auth", "login", &self.0.host(), "-u", USER, "-p", self.0.token()],
                )
                .await;
            assert!(outcome.success, "crane auth login: {}", outcome.text);
        }
    }

    async fn push(&self, repository: &str) -> Outcome {
        self.0
            .run("crane", &["push", "layout", &self.0.image(repository)])
            .await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        self.0
            .run("crane", &["pull", &self.0.image(repository), "pulled.tar"])
            .await
    }
}
