//! The documentation is correct: references are generated from the sources, links resolve, and snippets load.
//! `UPDATE_DOCS=1 cargo test --test docs` writes the generated pages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test"
)]

#[path = "docs/cel.rs"]
mod cel;
#[path = "docs/records.rs"]
mod records;
#[path = "docs/refused.rs"]
mod refused;
#[path = "docs/rules.rs"]
mod rules;
#[path = "docs/sizing.rs"]
mod sizing;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wharfinger::expr::Kind;
use wharfinger::http::{Network, TrustedProxies};
use wharfinger::telemetry::FAMILIES;

fn check(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is out of date: run `UPDATE_DOCS=1 cargo test --test docs`",
        path.display()
    );
}

#[test]
fn the_configuration_reference_is_made_from_the_types() {
    check(
        "docs/reference/configuration.md",
        &wharfinger::config::reference(),
    );
}

#[test]
fn the_metrics_are_those_that_the_sources_measure() {
    check("docs/reference/metrics.md", &wharfinger::telemetry::reference());
    let listed: BTreeSet<_> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    let mut measured = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for text in ["src", "crates"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
    {
        for prefix in ["wharfinger_", "process_"] {
            let opened = format!("\"{prefix}");
            let names = text
                .split(&opened)
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            let whole = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            measured.extend(names.filter(whole).map(|name| format!("{prefix}{name}")));
        }
    }
    assert_eq!(
        measured, listed,
        "src/telemetry/families.rs must list what the sources measure"
    );
}

/// Every source except the list of metrics itself.
fn sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| !path.ends_with("telemetry/families.rs"))
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![fs::read_to_string(&path).unwrap()]
            }
        })
        .collect()
}

#[test]
fn the_page_of_commands_matches_the_program() {
    let mut text = String::from(COMMANDS);
    let program = wharfinger::cli::definition();
    let commands = program.get_subcommands().map(|command| vec![command.get_name()]);
    for command in std::iter::once(vec![]).chain(commands) {
        let output = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
            .args(&command)
            .arg("--help")
            .output()
            .unwrap();
        text += &section(&[vec!["wharfinger"], command].concat().join(" "), output.stdout);
    }
    for (name, program) in [
        (
            "docker-credential-wharfinger",
            env!("CARGO_BIN_EXE_docker-credential-wharfinger"),
        ),
        (
            "wharfinger-credential-provider",
            env!("CARGO_BIN_EXE_wharfinger-credential-provider"),
        ),
    ] {
        text += &section(name, Command::new(program).arg("--help").output().unwrap().stdout);
    }
    check("docs/reference/commands.md", &text);
}

/// A program's help under its name.
fn section(title: &str, help: Vec<u8>) -> String {
    let help = String::from_utf8(help).unwrap();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    format!("\n## `{title}`\n\n```text\n{}\n```\n", lines.join("\n"))
}

const COMMANDS: &str = "# Commands

<!-- Made by `UPDATE_DOCS=1 cargo test --test docs`. -->

| exit code | means |
|---|---|
| 0 | success |
| 1 | the command ran and failed |
| 2 | the arguments or the configuration are wrong |

`RUST_LOG` overrides `log.level`, for example `RUST_LOG=wharfinger=debug`. `SPIFFE_ENDPOINT_SOCKET` is the default of
`http.auth.spiffe.workloadAPI`.

The log goes to standard error. It is text on a terminal and one JSON object per line elsewhere, unless `log.format` says otherwise. The line
with the registry's address appears at every log level. If the reader of the log stops reading, requests continue: lines wait in a queue, and
then they are dropped. A line with `log.dropped` says how many. A text that is too long is cut and marked.

`wharfinger completion SHELL` prints completions for bash, zsh, fish, elvish and PowerShell. `wharfinger man FOLDER` writes manual pages. This
page, the completions and the manual pages are generated from the same definitions. `docker-credential-wharfinger` and
`wharfinger-credential-provider` are small programs of their own for the machines of clients.

SIGTERM or SIGINT (Ctrl-C) stops `serve` and `dev` after running requests have finished. A second signal stops them at once, with exit code 1.

`verify` exits with 0 if `serve` would start. It prints the same warnings as `serve`. With `--strict`, warnings make it exit with 1. It opens
certificates, bundles and key sets. It takes no lock, writes nothing and uses no network. A missing key file, CA file or bearer token is only a
warning, because the file may appear later.

Anyone can get a token from some issuers: GitHub, GitLab.com, Buildkite, Google, HCP Terraform, Vercel, Codeberg and Sigstore. Such an issuer
needs a validation if a stranger could gain access: through a `defaultPolicy`, a missing `accessControl`, or an expression for `username` or
`groups` that could yield a name with permissions. `--open`, or `WHARFINGER_OPEN=1`, turns this mistake into a warning of `serve` and `verify`.
A reload cannot open the registry: the choice at the start applies until a restart.

`verify` warns about a TLS certificate that has expired or will soon: within a sixth of its lifetime, and at most two weeks. `serve` logs the
same warning at the start, once a day, and when a new certificate is loaded. The metric `wharfinger_tls_certificate_expiry_days` has the days
that each certificate has left.

`serve` reloads the configuration, certificates, bundles and key sets when they change, and at once on SIGHUP. If the new configuration has
mistakes, the log lists all of them and the old configuration stays in use. Changes to addresses, storage, whether TLS is on, and the log's
level and format need a restart. A warning says so.
";

#[test]
fn the_limits_are_those_of_the_sources() {
    let mut text = String::from(LIMITS);
    let mut meaning = String::new();
    for line in include_str!("../src/limits.rs").lines() {
        if let Some(more) = line.strip_prefix("///") {
            meaning += more;
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            let (_, value) = constant.trim_end_matches(';').split_once(" = ").unwrap();
            let product: u64 = value
                .split('*')
                .map(|factor| factor.trim().parse::<u64>().unwrap())
                .product();
            let meaning = meaning
                .trim()
                .trim_end_matches('.')
                .replace("at most [`USERNAME_BYTES`] long", "no longer than a username");
            text += &format!("| {} |\n", [meaning, amount(product)].join(" | "));
        }
        if !line.starts_with("///") {
            meaning.clear();
        }
    }
    let server = wharfinger::server::Limits::default();
    let bounds = wharfinger::http::StrangerBounds::default();
    for (meaning, value) in [
        (
            "The longest CEL expression, in bytes",
            amount(wharfinger::expr::SOURCE_BYTES as u64),
        ),
        (
            "Open connections. A further one replaces a connection without a login, or waits",
            amount(server.connections as u64),
        ),
        (
            "Connections without a login from one address (`http.unidentified.connectionsPerAddress`)",
            bounds.connections.to_string(),
        ),
        (
            "HTTP/2 streams without a login from one address, not counting the first of each connection (`http.unidentified.connectionsPerAddress`)",
            bounds.connections.to_string(),
        ),
        (
            "Requests in flight without a login from one address (`http.unidentified.requestsPerAddress`)",
            bounds.requests.to_string(),
        ),
        (
            "The slowest average rate of a caller without a login, in bytes per second, after the first minute",
            server.unidentified_rate.to_string(),
        ),
        (
            "Time for the whole request body of a caller without a login. Only the time that the registry waits for the body is measured",
            format!("{:?}", server.unidentified_body_timeout),
        ),
        (
            "Time from the connection to the end of the TLS handshake, including a PROXY header",
            format!("{:?}", server.handshake_timeout),
        ),
        (
            "Time for a request header to arrive, and between requests on one connection, also over HTTP/2",
            format!("{:?}", server.header_timeout),
        ),
        (
            "Time for the next part of a body to arrive or of an answer to be read. After that the connection is closed, or the HTTP/2 stream is reset",
            format!("{:?}", server.stall_timeout),
        ),
        (
            "Time to discard the rest of a request body after an early answer",
            format!("{:?}", server.discard_timeout),
        ),
        (
            "Time for running requests to finish after SIGTERM",
            format!("{:?}", server.drain_timeout),
        ),
    ] {
        text += &format!("| {meaning} | {value} |\n");
    }
    check("docs/reference/limits.md", &text);
}

const LIMITS: &str = "# Limits

<!-- Made by `UPDATE_DOCS=1 cargo test --test docs`. -->

These limits bound what callers may send and what a connection may cost. A limit that names a setting shows its default. The others are fixed.
The body of a blob is limited only by the disk. All bodies together use at most the memory of `http.bodyMemory`, by default 64 MiB. An upload
that no client continues is removed after 24 hours.

| what | at most |
|---|---|
";

/// The number, and also in KiB or MiB if it is a multiple.
fn amount(number: u64) -> String {
    match (number % (1 << 20), number % (1 << 10)) {
        (0, _) => format!("{number} ({} MiB)", number >> 20),
        (_, 0) => format!("{number} ({} KiB)", number >> 10),
        _ => number.to_string(),
    }
}

/// Every Markdown file for readers.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "examples/README.md",
        "deploy/kubernetes/README.md",
    ]
    .map(|page| root.join(page))
    .into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_link_has_a_target() {
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap_or_else(|why| panic!("{}: {why}", page.display()));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            assert!(target.exists(), "{}: {link} has no target", page.display());
            let title = |line: &str| {
                line.trim_start_matches('#')
                    .trim()
                    .to_lowercase()
                    .replace(' ', "-")
            };
            let found = anchor.is_empty()
                || fs::read_to_string(&target)
                    .unwrap()
                    .lines()
                    .any(|line| line.starts_with('#') && title(line) == anchor);
            assert!(found, "{}: {link} has no such section", page.display());
            links += 1;
        }
    }
    assert!(links > 30, "{links}");
}

/// Files are named between backticks, as `src/lib.rs` or `lib.rs`. The changelog may name files that were
/// removed.
#[test]
fn files_that_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "src", "crates", "tests", "benches", "fuzz", "testdata", "docs", ".ci", "deploy",
    ];
    let names: BTreeSet<_> = folders[..5]
        .iter()
        .flat_map(|folder| file_names(&root.join(folder)))
        .collect();
    let mut named = 0;
    for page in pages().iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        let text = fs::read_to_string(page).unwrap();
        for file in text.split('`').skip(1).step_by(2) {
            let is_a_path = !file.contains([' ', '*', '\n']) && !file.contains("NAME");
            let is_here = match file.split_once('/') {
                Some((folder, _)) if is_a_path && folders.contains(&folder) => root.join(file).exists(),
                None if is_a_path && file.ends_with(".rs") => names.contains(file),
                _ => continue,
            };
            assert!(is_here, "{}: there is no {file}", page.display());
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.flat_map(|path| match path.is_dir() {
        true => file_names(&path),
        false => vec![path.file_name().unwrap().to_string_lossy().into_owned()],
    });
    names.collect()
}

/// A copied example must not make every pod a trusted proxy.
#[test]
fn no_example_trusts_a_network_that_pods_commonly_have() {
    let mut networks = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let lists = text
            .split("trustedProxies: [")
            .skip(1)
            .filter_map(|rest| rest.split(']').next());
        for network in lists.flat_map(|list| list.split(',')) {
            let proxies: TrustedProxies = [network.trim().trim_matches('"').parse::<Network>().unwrap()]
                .into_iter()
                .collect();
            for pod in [
                "10.0.0.9",
                "10.42.0.9",
                "10.244.0.9",
                "100.64.0.9",
                "172.17.0.9",
                "192.168.0.9",
                "fd00::9",
            ] {
                assert!(
                    !proxies.contains(pod.parse().unwrap()),
                    "{}: {network} covers {pod}",
                    page.display()
                );
            }
            networks += 1;
        }
    }
    assert!(networks > 0);
}

#[test]
fn every_table_has_a_row() {
    let is_row = |line: &str| line.trim_start().starts_with('|');
    let mut tables = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with("|--") || line.starts_with("| --"))
        {
            let next = lines.get(at + 1).is_some_and(|next| is_row(next));
            assert!(
                at > 0 && is_row(lines[at - 1]) && next,
                "{}:{}: a table without a row, or without a head: {line}",
                page.display(),
                at + 1
            );
            tables += 1;
        }
    }
    assert!(tables > 10, "{tables}");
}

#[test]
fn every_page_is_in_the_index() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let index = fs::read_to_string(docs.join("README.md")).unwrap();
    for page in pages()
        .iter()
        .filter_map(|page| page.strip_prefix(&docs).ok())
        .filter(|page| page.components().count() > 1)
    {
        assert!(
            index.contains(&format!("({})", page.display())),
            "{} is not in docs/README.md",
            page.display()
        );
        assert!(
            fs::read_to_string(docs.join(page)).unwrap().starts_with("# "),
            "{} has no title",
            page.display()
        );
    }
}

/// The code blocks in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(opened) if !inside && opened == language => {
                found.push(String::new());
                inside = true;
            }
            Some(_) => inside = false,
            None if inside => *found.last_mut().unwrap() += &format!("{line}\n"),
            None => {}
        }
    }
    found
}

/// SPIRE rejects an entry that federates with a trust domain whose bundle it does not have.
#[test]
fn the_first_entry_for_the_registry_needs_no_federation() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to/spire.md")).unwrap();
    let first = &blocks(&page, "sh")[0];
    assert!(
        first.contains("spire-server entry create") && !first.contains("-federatesWith"),
        "{first}"
    );
}

/// No release of Flux has the flags of the first draft.
#[test]
fn flags_of_fluxs_draft_are_on_its_own_page_only() {
    for flag in ["--spiffe-issuer", "--spiffe-trust-domain", "--spiffe-secret-name"] {
        let named = pages()
            .into_iter()
            .filter(|page| fs::read_to_string(page).unwrap().contains(flag));
        let named: Vec<_> = named
            .map(|page| page.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(named, ["flux-draft.md"], "{flag}");
    }
}

#[test]
fn snippets_of_configuration_load() {
    let mut loaded = 0;
    for page in pages() {
        for block in blocks(&fs::read_to_string(&page).unwrap(), "yaml") {
            let mut document: Value = serde_saphyr::from_str(&block).unwrap();
            document["storage"]["rootDirectory"] = json!("s");
            if document.pointer("/http/auth").is_none() {
                document["http"] = json!({"auth": {"bearer": {"oidc": [{"issuer": "https://issuer.example.org", "audiences": ["a"]}]}}});
            }
            let config = wharfinger::config::parse(&document.to_string(), Path::new("."), None);
            let config =
                config.unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}\n{block}", page.display()));
            assert_eq!(config.warnings, [], "{}:\n{block}", page.display());
            loaded += 1;
        }
    }
    assert!(loaded > 4, "{loaded}");
}

/// The settings of the credential helper, as the helper itself reads them.
#[test]
fn settings_of_the_helper_load() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to/credential-helper.md"))
            .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, blocks(&page, "yml").concat()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_docker-credential-wharfinger"));
    let output = command
        .arg("list")
        .env("WHARFINGER_CREDENTIALS", file.path())
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let hosts = [
        "registry.example.org",
        "registry.example.org:5000",
        "mirror.example.org",
        "other.example.org",
    ];
    assert!(hosts.iter().all(|host| listed[host].is_string()), "{listed}");
}

#[test]
fn expressions_compile() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/cel.md")).unwrap();
    let expressions: Vec<_> = blocks(&page, "cel").concat().lines().map(str::to_owned).collect();
    assert!(expressions.len() > 5);
    for expression in expressions {
        let compiled =
            wharfinger::expr::compile(&expression, Kind::Any, &["claims", "vars", "credential"], None);
        assert!(compiled.is_ok(), "{expression}: {compiled:?}");
    }
}
