//! A private containerd and its `ctr`. It never pings `/v2/`, tries POST first, and reads `hosts.toml`.

use super::bench::{Bench, USER, finished};
use super::daemon::Daemon;
use super::{Client, Outcome, Way};

pub(super) struct Ctr {
    // Dropped before the home that it works in.
    _daemon: Daemon,
    bench: Bench,
}

impl Client for Ctr {
    async fn prepare(bench: Bench) -> Self {
        bench.write("config.toml", &daemon_config(&bench));
        bench.write(&format!("hosts/{}/hosts.toml", bench.host()), &hosts(&bench));
        let mut command = bench.command("containerd");
        command.args(["--config", &bench.text_path("config.toml")]);
        let daemon = Daemon::start(&bench, command, async || {
            run(&bench, "any", &["version"]).await.success
        })
        .await;
        Self {
            _daemon: daemon,
            bench,
        }
    }

    async fn push(&self, repository: &str) -> Outcome {
        let image = self.bench.image(repository);
        let packed = self
            .bench
            .run("tar", &["-C", "layout", "-cf", "layout.tar", "."])
            .await;
        assert!(packed.success, "tar: {}", packed.text);
        let base = image.trim_end_matches(":v1");
        let imported = run(
            &self.bench,
            "push",
            &[
                "images",
                "import",
                "--no-unpack",
                "--base-name",
                base,
                "layout.tar",
            ],
        )
        .await;
        assert!(imported.success, "ctr images import: {}", imported.text);
        self.transfer("push", &["push"], &image).await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        self.transfer(
            "pull",
            &["pull", "--snapshotter", "native"],
            &self.bench.image(repository),
        )
        .await
    }
}

impl Ctr {
    /// Namespaces share nothing here, so each must pull what another has pushed.
    async fn transfer(&self, namespace: &str, verb: &[&str], image: &str) -> Outcome {
        let hosts = self.bench.text_path("hosts");
        let login = format!("{USER}:{}", self.bench.token());
        let mut arguments = [&["images"], verb, &["--hosts-dir", &hosts]].concat();
        match self.bench.way {
            Way::Password => arguments.extend(["--user", &login]),
            Way::IdentityToken => arguments.extend(["--refresh", self.bench.token()]),
            Way::Bearer | Way::Helper | Way::Certificate | Way::Anonymous => {}
        }
        arguments.push(image);
        run(&self.bench, namespace, &arguments).await
    }
}

fn daemon_config(bench: &Bench) -> String {
    format!(
        "version = 2
root = '{root}'
state = '{state}'
disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.internal.v1.opt']
[grpc]
address = '{socket}'
[plugins.'io.containerd.metadata.v1.bolt']
content_sharing_policy = 'isolated'
",
        root = bench.text_path("root"),
        state = bench.text_path("state"),
        socket = bench.text_path("containerd.sock"),
    )
}

fn hosts(bench: &Bench) -> String {
    let url = format!("https://{}", bench.host());
    let more = match bench.way {
        Way::Certificate => format!(
            "client = [['{}', '{}']]\n",
            bench.text_path("client.pem"),
            bench.text_path("client.key")
        ),
        Way::Bearer => format!(
            "[host.'{url}'.header]\nAuthorization = 'Bearer {}'\n",
            bench.token()
        ),
        Way::Password | Way::IdentityToken | Way::Helper | Way::Anonymous => String::new(),
    };
    format!(
        "server = '{url}'\n[host.'{url}']\nca = '{}'\n{more}",
        bench.text_path("ca.pem")
    )
}

async fn run(bench: &Bench, namespace: &str, arguments: &[&str]) -> Outcome {
    let socket = bench.text_path("containerd.sock");
    finished(
        bench
            .command("ctr")
            .args(["--address", &socket, "--namespace", namespace])
            .args(arguments),
    )
    .await
}
