//! helm, with a chart for each repository, because a chart's repository ends in its name.

use super::bench::Bench;
use super::{Client, Outcome, Way};

pub(super) struct Helm(Bench);

const CONFIG: &str = ".config/helm/registry/config.json";

impl Client for Helm {
    async fn prepare(bench: Bench) -> Self {
        bench.write(CONFIG, &bench.docker_config(false));
        Self(bench)
    }

    async fn login(&self) {
        if self.0.is(Way::Password) {
            self.0.registry_login("helm").await;
        }
    }

    async fn push(&self, repository: &str) -> Outcome {
        let (folder, name) = repository.split_once('/').unwrap();
        self.0.write(
            &format!("{name}/Chart.yaml"),
            &format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n"),
        );
        self.0.write(
            &format!("{name}/templates/map.yaml"),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\n",
        );
        let packaged = self.0.run("helm", &["package", name]).await;
        assert!(packaged.success, "helm package: {}", packaged.text);
        let target = format!("oci://{}/{folder}", self.0.host());
        self.run(&["push", &format!("{name}-1.0.0.tgz"), &target]).await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        let source = format!("oci://{}/{repository}", self.0.host());
        self.0.write("pulled/here", "");
        self.run(&["pull", &source, "--version", "1.0.0", "--destination", "pulled"])
            .await
    }
}

impl Helm {
    async fn run(&self, arguments: &[&str]) -> Outcome {
        let mut arguments = arguments.to_vec();
        if self.0.is(Way::Certificate) {
            arguments.extend([
                "--ca-file",
                "ca.pem",
                "--cert-file",
                "client.pem",
                "--key-file",
                "client.key",
            ]);
        }
        self.0.run("helm", &arguments).await
    }
}
