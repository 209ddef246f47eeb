//! docker with its own daemon, data, containerd and mount namespace. `/etc/docker` and `/etc/hosts` belong to
//! the test, because the daemon looks for certificates nowhere else and must resolve the registry's name.

use super::bench::{Bench, USER, finished};
use super::daemon::Daemon;
use super::{Client, Outcome, Way};

pub(super) struct Docker {
    // Dropped before the home that it works in.
    _daemon: Daemon,
    bench: Bench,
}

impl Client for Docker {
    const BY_NAME: bool = true;

    async fn prepare(bench: Bench) -> Self {
        bench.certificates(&format!("etc-docker/certs.d/{}", bench.host()));
        bench.write("etc-docker/daemon.json", "{}");
        bench.write(
            "hosts",
            &format!("::1 {}\n", bench.host().split(':').next().unwrap()),
        );
        bench.write(".docker/config.json", &bench.docker_config(false));
        bench.write("files/hello", "Hello from a test.\n");
        let mut command = bench.command("unshare");
        let script = r#"mkdir -p /etc/docker && mount --bind "$HOME/etc-docker" /etc/docker && mount --bind "$HOME/hosts" /etc/hosts && exec dockerd "$@""#;
        command.args([
            "--mount",
            "sh",
            "-c",
            script,
            "dockerd",
            "--host",
            &socket(&bench),
        ]);
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--storage-driver=vfs",
        ]);
        command.args([
            "--data-root",
            &bench.text_path("data"),
            "--exec-root",
            &bench.text_path("exec"),
        ]);
        command.args(["--pidfile", &bench.text_path("docker.pid")]);
        let daemon = Daemon::start(&bench, command, async || run(&bench, &["version"]).await.success).await;
        Self {
            _daemon: daemon,
            bench,
        }
    }

    async fn login(&self) {
        let host = self.bench.host();
        let bench = &self.bench;
        let outcome = match bench.way {
            Way::Password => run(bench, &["login", "-u", USER, "-p", bench.token(), &host]).await,
            Way::Helper => {
                let login = run(bench, &["login", &host]).await;
                let logout = run(bench, &["logout", &host]).await;
                assert!(logout.success, "docker logout: {}", logout.text);
                login
            }
            Way::Bearer | Way::IdentityToken | Way::Certificate | Way::Anonymous => return,
        };
        assert!(
            outcome.success && outcome.text.contains("Login Succeeded"),
            "docker login: {}",
            outcome.text
        );
        let kept = std::fs::read_to_string(bench.path(".docker/config.json")).unwrap();
        assert_eq!(
            kept.contains("identitytoken"),
            bench.is(Way::Password),
            "a refresh token instead of the password: {kept}"
        );
        assert!(
            !kept.contains(bench.token()),
            "the token itself is not kept: {kept}"
        );
    }

    async fn push(&self, repository: &str) -> Outcome {
        let image = self.bench.image(repository);
        let packed = self
            .bench
            .run("tar", &["-C", "files", "-cf", "files.tar", "hello"])
            .await;
        assert!(packed.success, "tar: {}", packed.text);
        let imported = run(&self.bench, &["import", "files.tar", &image]).await;
        assert!(imported.success, "docker import: {}", imported.text);
        run(&self.bench, &["push", &image]).await
    }

    async fn pull(&self, repository: &str) -> Outcome {
        let image = self.bench.image(repository);
        // docker keeps what it has pushed. It is fine if there is nothing to remove.
        run(&self.bench, &["rmi", "--force", &image]).await;
        run(&self.bench, &["pull", &image]).await
    }
}

impl Docker {
    /// docker's configuration after a login with this name and password.
    pub(super) async fn log_in_as(&self, user: &str, password: &str) -> serde_json::Value {
        let outcome = run(
            &self.bench,
            &["login", "-u", user, "-p", password, &self.bench.host()],
        )
        .await;
        assert!(outcome.success, "docker login: {}", outcome.text);
        serde_json::from_slice(&std::fs::read(self.bench.path(".docker/config.json")).unwrap()).unwrap()
    }
}

fn socket(bench: &Bench) -> String {
    format!("unix://{}", bench.text_path("docker.sock"))
}

async fn run(bench: &Bench, arguments: &[&str]) -> Outcome {
    finished(
        bench
            .command("docker")
            .args(["--host", &socket(bench)])
            .args(arguments),
    )
    .await
}
