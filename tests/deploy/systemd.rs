//! The systemd unit. Systemd itself does not run where tests run, so these tests check its parts: systemd's own tools
//! read and rate the unit, and `strace` shows that the registry does nothing that the unit forbids.

use super::pages::blocks;
use super::{is_installed, repository, run};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const PAGE: &str = "docs/how-to/systemd.md";
const UNIT: &str = "deploy/systemd/wharfinger.service";
/// The highest exposure that `systemd-analyze security` may find, times ten. 0 is the best, and 100 the worst.
const EXPOSURE: u32 = 12;

/// A folder with the unit and a drop-in. Its program is the tested one.
fn unit_with(drop_in: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(repository(UNIT)).unwrap();
    let program = "/usr/local/bin/wharfinger";
    assert!(text.contains(program));
    let text = text.replace(program, env!("CARGO_BIN_EXE_wharfinger"));
    fs::write(folder.path().join("wharfinger.service"), text).unwrap();
    let drop_ins = folder.path().join("wharfinger.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(drop_ins.join("more.conf"), drop_in).unwrap();
    folder
}

#[test]
fn systemd_accepts_the_unit_and_the_drop_ins_of_the_page() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let mut drop_ins = blocks(PAGE, "ini");
    drop_ins.push(String::new());
    for drop_in in drop_ins {
        let folder = unit_with(&drop_in);
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]);
        let (good, output) = run(verify.arg(folder.path().join("wharfinger.service")));
        assert!(good && output.is_empty(), "{drop_in}\n{output}");
    }
    let mut users = Command::new("systemd-sysusers");
    users.arg("--dry-run");
    let (good, output) = run(users.arg(repository("deploy/systemd/wharfinger.sysusers")));
    assert!(good && !output.contains("ignoring"), "{output}");
}

#[test]
fn systemd_rates_the_unit_as_hardened() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager"]);
    security.arg(format!("--threshold={EXPOSURE}"));
    let (good, output) = run(security.arg(repository(UNIT)));
    assert!(good, "{output}");
    let page = fs::read_to_string(repository(PAGE)).unwrap();
    let figure = format!("exposure of {}.{}", EXPOSURE / 10, EXPOSURE % 10);
    assert!(page.replace('\n', " ").contains(&figure), "{figure}");
}

/// What the page says about folders fits the unit.
#[test]
fn the_configuration_of_the_page_writes_where_the_unit_allows() {
    let unit = fs::read_to_string(repository(UNIT)).unwrap();
    assert!(unit.contains("\nStateDirectory=wharfinger\n") && unit.contains("\nUser=wharfinger\n"));
    let config: serde_json::Value = serde_saphyr::from_str(&blocks(PAGE, "yaml")[0]).unwrap();
    for path in [&config["storage"]["rootDirectory"], &config["stateDirectory"]] {
        assert!(
            path.as_str().unwrap().starts_with("/var/lib/wharfinger/"),
            "{path}"
        );
    }
}

/// The unit's system call filter, address families, read-only file system and ban of writable code. The registry runs
/// as another user without capabilities. It gets its own trust domain, and serves a push and a pull over TLS.
#[test]
fn the_registry_does_nothing_that_the_unit_forbids() {
    if !(is_installed("systemd-analyze") && is_installed("strace") && is_installed("setpriv")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = traced(folder.path());
    let calls: Vec<_> = trace
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .filter(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
        .collect();
    assert!(calls.len() > 1000, "{trace}");
    let allowed = allowed_calls();
    let used: BTreeSet<_> = calls.iter().map(|(name, _)| (*name).to_owned()).collect();
    let forbidden: Vec<_> = used.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");

    let families = setting("RestrictAddressFamilies");
    for (name, arguments) in calls {
        let quoted = arguments.split('"').nth(1).unwrap_or_default();
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"]
            .iter()
            .any(|flag| arguments.contains(flag));
        match name {
            "socket" => {
                let family = arguments.split(',').next().unwrap();
                assert!(families.split(' ').any(|one| one == family), "{arguments}");
            }
            "mmap" => assert!(!arguments.contains("PROT_WRITE|PROT_EXEC"), "{arguments}"),
            "mprotect" => assert!(!arguments.contains("PROT_EXEC"), "{arguments}"),
            // Other paths are relative to a folder of the store.
            "open" | "openat" | "openat2" if writes && quoted.starts_with('/') => {
                let inside = Path::new(quoted).starts_with(folder.path()) || quoted == "/dev/null";
                assert!(inside, "{arguments}");
            }
            _ => {}
        }
    }
}

/// Runs `wharfinger dev --once` in the folder. Returns what `strace` wrote.
fn traced(folder: &Path) -> String {
    const NOBODY: u32 = 65534;
    let program = copy_of_the_program(folder);
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    let trace = folder.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "4096", "-o"]).arg(&trace);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"]);
    }
    command
        .arg(program)
        .args(["dev", "--once", "--port", "0", "--folder"]);
    let (good, output) = run(command.arg(data.join("dev")).env("HOME", &data));
    assert!(good, "{output}");
    let trace = fs::read_to_string(trace).unwrap();
    // What happened before the program itself began is not the registry's.
    let own = trace.find("wharfinger\", [\"").unwrap();
    trace[own..].to_owned()
}

/// Another user may not be able to reach the program where it was built.
fn copy_of_the_program(folder: &Path) -> PathBuf {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join("wharfinger");
    fs::copy(env!("CARGO_BIN_EXE_wharfinger"), &copy).unwrap();
    copy
}

/// The value of a setting of the unit. Several lines are joined by a space.
fn setting(name: &str) -> String {
    let unit = fs::read_to_string(repository(UNIT)).unwrap();
    let named = format!("{name}=");
    let values: Vec<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix(&named))
        .collect();
    assert!(!values.is_empty(), "{name}");
    values.join(" ")
}

/// The system calls that the unit allows: a list of sets, then one of sets that are taken out again.
fn allowed_calls() -> BTreeSet<String> {
    let filter = setting("SystemCallFilter");
    let (allowed, denied) = filter.split_once(" ~").unwrap();
    let all = |sets: &str| sets.split(' ').flat_map(calls_in).collect::<BTreeSet<_>>();
    // systemd always allows these.
    &(&all(allowed) - &all(denied)) | &all("@default execve")
}

/// The system calls of a set, which may contain other sets.
fn calls_in(set: &str) -> BTreeSet<String> {
    if !set.starts_with('@') {
        return [set.to_owned()].into();
    }
    let (good, output) = run(Command::new("systemd-analyze").args(["syscall-filter", set]));
    assert!(good, "{output}");
    output
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(calls_in)
        .collect()
}
