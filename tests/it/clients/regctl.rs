//! regctl, which has a configuration of its own beside docker's.

use super::bench::Bench;
use super::{Client, Outcome, Way};
use serde_json::json;

pub(super) struct Regctl(Bench);

impl Client for Regctl {
    async fn prepare(bench: Bench) -> Self {
        let mut host = json!({"regcert": bench.authority()});
        if bench.is(Way::Certificate) {
            let read = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap();
            host["clientCert"] = read("client.pem").into();
            host["clientKey"] = read("client.key").into();
        }
        bench.write(
            ".regctl/config.json",
            &json!({"hosts": {bench.host(): host}}).to_string(),
        );
        bench.write(".docker/config.json", &bench.docker_config(false));
        Self(bench)
    }

    async fn login(&self) {
        if self.0.is(Way::Password) {
            self.0.registry_login("regctl").await;
        }
    }

    async fn push(&self, repository: &str) -> Outcome {
        self.0
            .run(
                "regctl",
                &["image", "copy", "ocidir://layout:v1", &self.0.image(repository)],
            )
            .await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        self.0
            .run(
                "regctl",
                &["image", "copy", &self.0.image(repository), "ocidir://pulled:v1"],
            )
            .await
    }
}
