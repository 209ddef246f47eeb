//! skopeo.

use super::bench::{Bench, USER};
use super::{Client, Outcome, Way};

pub(super) struct Skopeo(Bench);

impl Client for Skopeo {
    async fn prepare(bench: Bench) -> Self {
        bench.certificates("certs");
        bench.write(".docker/config.json", &bench.docker_config(false));
        Self(bench)
    }

    async fn push(&self, repository: &str) -> Outcome {
        let target = format!("docker://{}", self.0.image(repository));
        self.copy("dest", &["oci:layout:v1", &target]).await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        let source = format!("docker://{}", self.0.image(repository));
        self.copy("src", &[&source, &format!("dir:{}", self.0.text_path("pulled"))])
            .await
    }
}

impl Skopeo {
    async fn copy(&self, side: &str, rest: &[&str]) -> Outcome {
        let certificates = format!("--{side}-cert-dir");
        let credentials = format!("--{side}-creds");
        let login = format!("{USER}:{}", self.0.token());
        let bearer = format!("--{side}-registry-token");
        let folder = self.0.text_path("certs");
        let mut arguments = vec!["--insecure-policy", "copy", &certificates, &folder];
        match self.0.way {
            Way::Password => arguments.extend([credentials.as_str(), &login]),
            Way::Bearer => arguments.extend([bearer.as_str(), self.0.token()]),
            Way::IdentityToken | Way::Helper | Way::Certificate | Way::Anonymous => {}
        }
        arguments.extend(rest);
        self.0.run("skopeo", &arguments).await
    }
}
