//! Every client with every credential that it can carry, as its users would run it. It logs in, pushes to a
//! repository of its own, and pulls from it. Without a credential it reads public repositories and nothing
//! else.
//!
//! [`MATRIX`] is the table in `docs/reference/clients.md`. The client's test tries each cell that says
//! [`Cell::Works`] and then prints the row.

mod bench;
mod containerd;
mod cosign;
mod crane;
mod daemon;
mod deleting;
mod docker;
mod helm;
mod podman;
mod regctl;
mod skopeo;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{Bench, Site};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

/// What a client logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Password,
    Bearer,
    IdentityToken,
    Helper,
    Certificate,
    Anonymous,
}

const WAYS: [Way; 6] = [
    Way::Password,
    Way::Bearer,
    Way::IdentityToken,
    Way::Helper,
    Way::Certificate,
    Way::Anonymous,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Works,
    /// The reason.
    Cannot(&'static str),
}

use Cell::{Cannot, Works};

/// A client, its program, and what it can do, in the order of [`WAYS`].
struct Row {
    client: &'static str,
    programs: &'static [&'static str],
    cells: [Cell; 6],
}

const MATRIX: &[Row] = &[
    Row {
        client: "docker",
        programs: &["docker", "dockerd", "unshare"],
        cells: [Works; 6],
    },
    Row {
        client: "containerd (ctr)",
        programs: &["ctr", "containerd"],
        cells: [
            Works,
            Works,
            Works,
            Cannot("ctr supports no helpers; for pods, use the kubelet's credential provider"),
            Works,
            Works,
        ],
    },
    Row {
        client: "podman",
        programs: &["podman"],
        cells: [
            Works,
            Cannot("podman does not read `registrytoken`"),
            Works,
            Works,
            Works,
            Works,
        ],
    },
    Row {
        client: "buildah",
        programs: &["buildah"],
        cells: [
            Works,
            Cannot("buildah does not read `registrytoken`"),
            Works,
            Works,
            Works,
            Works,
        ],
    },
    Row {
        client: "skopeo",
        programs: &["skopeo"],
        cells: [Works; 6],
    },
    Row {
        client: "crane",
        programs: &["crane"],
        cells: [
            Works,
            Works,
            Works,
            Works,
            Cannot("crane has no option for a client certificate"),
            Works,
        ],
    },
    Row {
        client: "regctl",
        programs: &["regctl"],
        cells: [
            Works,
            Cannot("regctl does not read `registrytoken`"),
            Works,
            Works,
            Works,
            Works,
        ],
    },
    Row {
        client: "helm",
        programs: &["helm"],
        cells: [Works; 6],
    },
    Row {
        client: "cosign",
        programs: &["cosign"],
        cells: [Works; 6],
    },
];

/// What a client does. Each value is for one way and one home.
trait Client: Sized {
    /// See [`Site::start`].
    const BY_NAME: bool = false;

    async fn prepare(bench: Bench) -> Self;
    /// What the repository must have before the first push.
    async fn before_push(&self, _repository: &str) {}
    /// Its own login command, if it has one for this way.
    async fn login(&self) {}
    async fn push(&self, repository: &str) -> Outcome;
    /// Pulls into an empty place.
    async fn pull(&self, repository: &str) -> Outcome;
}

struct Outcome {
    success: bool,
    text: String,
}

macro_rules! clients {
    ($($name:ident: $client:ty, $row:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            walk::<$client>($row).await;
        })+
    };
}

clients! {
    docker_carries_everything: docker::Docker, "docker";
    containerd_carries_everything_but_a_helper: containerd::Ctr, "containerd (ctr)";
    podman_carries_everything_but_a_bearer_token: podman::Podman, "podman";
    buildah_carries_everything_but_a_bearer_token: podman::Buildah, "buildah";
    skopeo_carries_everything: skopeo::Skopeo, "skopeo";
    crane_carries_everything_but_a_certificate: crane::Crane, "crane";
    regctl_carries_everything_but_a_bearer_token: regctl::Regctl, "regctl";
    helm_carries_everything: helm::Helm, "helm";
    cosign_carries_everything: cosign::Cosign, "cosign";
}

async fn walk<C: Client>(client: &str) {
    let row = MATRIX
        .iter()
        .find(|row| row.client == client)
        .expect("a row of the matrix");
    if !row
        .programs
        .iter()
        .all(|program| crate::harness::is_installed(program))
    {
        return;
    }
    let site = Arc::new(Site::start(C::BY_NAME).await);
    for (way, cell) in WAYS.into_iter().zip(row.cells) {
        match (way, cell) {
            (_, Cannot(_)) => {}
            (Way::Anonymous, Works) => anonymous::<C>(&site).await,
            (_, Works) => round_trip::<C>(&site, way).await,
        }
    }
    // A macro's output is shown for failed tests only.
    drop(writeln!(std::io::stderr(), "{}", printed(row)));
}

/// Logs in, pushes and pulls, and checks the registry's log for the caller.
async fn round_trip<C: Client>(site: &Arc<Site>, way: Way) {
    let client = C::prepare(Bench::new(site, way)).await;
    let repository = &format!("team/{}", format!("{way:?}").to_lowercase());
    client.before_push(repository).await;
    let start = site.app.mark().await;
    client.login().await;
    done(way, "push", &client.push(repository).await);
    site.was(start, "PUT", &format!("/v2/{repository}/manifests/"), way)
        .await;
    let mark = site.app.mark().await;
    done(way, "pull", &client.pull(repository).await);
    site.was(mark, "GET", &format!("/v2/{repository}/blobs/"), way)
        .await;
    let lines = site.app.log.since(start);
    let token_requests: Vec<&Value> = lines
        .iter()
        .filter(|line| line["http.path"] == "/v2/token")
        .collect();
    match way {
        Way::Bearer | Way::Certificate => assert!(
            token_requests.is_empty(),
            "{way:?}: goes straight to the registry: {token_requests:#?}"
        ),
        Way::IdentityToken => {
            let exchanged = token_requests
                .iter()
                .any(|line| line["http.method"] == "POST" && line["http.status"] == 200);
            assert!(
                exchanged,
                "{way:?}: is exchanged at the token endpoint: {token_requests:#?}"
            );
        }
        Way::Password | Way::Helper | Way::Anonymous => {
            assert!(!token_requests.is_empty(), "{way:?}: gets a token first")
        }
    }
}

/// Reads the public repository, and is rejected for the other.
async fn anonymous<C: Client>(site: &Arc<Site>) {
    let public = "public/app";
    let private = "team/app";
    let owner = C::prepare(Bench::new(site, Way::Password)).await;
    owner.login().await;
    for repository in [public, private] {
        owner.before_push(repository).await;
        done(Way::Anonymous, "push by its owner", &owner.push(repository).await);
    }
    drop(owner);
    let client = C::prepare(Bench::new(site, Way::Anonymous)).await;
    let mark = site.app.mark().await;
    done(Way::Anonymous, "pull", &client.pull(public).await);
    site.was(mark, "GET", &format!("/v2/{public}/blobs/"), Way::Anonymous)
        .await;
    let mark = site.app.mark().await;
    let refused = client.pull(private).await;
    assert!(
        !refused.success,
        "Anonymous: what is not public is not read: {}",
        refused.text
    );
    for line in site.app.log.since(mark) {
        let read = line["http.path"]
            .as_str()
            .is_some_and(|path| path.contains(private))
            && line["http.status"] == 200;
        assert!(!read, "{line}");
    }
}

/// As `credsStore` the helper is asked about a registry that no setting names. It gives no token, and the
/// client continues without one.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_for_every_registry_leaves_public_pulls_alone() {
    let site = Arc::new(Site::start(false).await);
    site.push_image("public/app").await;
    if crate::harness::is_installed("crane") {
        public_pull::<crane::Crane>(&site).await;
    }
    if crate::harness::is_installed("skopeo") {
        public_pull::<skopeo::Skopeo>(&site).await;
    }
}

async fn public_pull<C: Client>(site: &Arc<Site>) {
    let client = C::prepare(Bench::of_a_store(site)).await;
    let mark = site.app.mark().await;
    done(
        Way::Anonymous,
        "pull with credsStore",
        &client.pull("public/app").await,
    );
    site.was(mark, "GET", "/v2/public/app/blobs/", Way::Anonymous)
        .await;
}

/// docker replaces the password by a refresh token if it gets one. When that expires, it cannot log in again.
#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_a_password_that_lives_longer_than_a_session() {
    if !["docker", "dockerd", "unshare"]
        .iter()
        .all(|program| crate::harness::is_installed(program))
    {
        return;
    }
    let site = Arc::new(Site::start(true).await);
    let client = docker::Docker::prepare(Bench::new(&site, Way::Anonymous)).await;
    let (user, password) = bench::HUMAN;
    let kept = client.log_in_as(user, password).await;
    let auth = &kept["auths"][site.host()];
    assert_eq!(
        (&auth["auth"], auth.get("identitytoken")),
        (&STANDARD.encode(format!("{user}:{password}")).into(), None),
        "{kept}"
    );
    let mark = site.app.mark().await;
    done(Way::Password, "push", &client.push("team/human").await);
    let by_human =
        |line: &Value| line["http.method"] == "PUT" && line["identity"] == user && line["http.status"] == 201;
    site.app.log.wait("the push is the human's", mark, by_human).await;
}

fn done(way: Way, step: &str, outcome: &Outcome) {
    assert!(outcome.success, "{way:?}: {step}: {}", outcome.text);
}

/// `UPDATE_DOCS=1 cargo test --test it clients` writes the table.
#[test]
fn the_documentation_shows_the_matrix() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/clients.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "{} is out of date: run `UPDATE_DOCS=1 cargo test --test it clients`",
        path.display()
    );
}

fn page() -> String {
    let mut page = String::from(PAGE);
    let mut notes = Vec::new();
    for row in MATRIX {
        let cells = row.cells.map(|cell| match cell {
            Works => "yes".to_owned(),
            Cannot(why) => {
                let known = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
                    notes.push(why);
                    notes.len() - 1
                });
                format!("no ({})", known + 1)
            }
        });
        page += &format!("| {} | {} |\n", row.client, cells.join(" | "));
    }
    page += "\n";
    for (n, note) in notes.iter().enumerate() {
        page += &format!("{}. {note}\n", n + 1);
    }
    page
}

const PAGE: &str = "# What clients support

<!-- Made by `UPDATE_DOCS=1 cargo test --test it clients`, whose tests try every `yes` with the real client. -->

The columns are ways to log in. *Password*: a token as the password, with any username. *Bearer token*: the client sends the token directly
(`registrytoken` in docker's configuration, an option, or a header). *Identity token*: the client exchanges the token at the token endpoint. *Helper*:
`docker-credential-wharfinger`. *Certificate*: an X.509-SVID without a token. *Anonymous*: the client pulls public content without a credential, from a
registry that also has private content.

| client | password | bearer token | identity token | helper | certificate | anonymous |
|---|---|---|---|---|---|---|
";

/// One line of the run's output.
fn printed(row: &Row) -> String {
    let cells = WAYS.into_iter().zip(row.cells).map(|(way, cell)| match cell {
        Works => format!("{way:?}: works"),
        Cannot(_) => format!("{way:?}: -"),
    });
    format!(
        "clients  {:16}  {}",
        row.client,
        cells.collect::<Vec<_>>().join("  ")
    )
}
