//! The Helm chart, with each file of values in `tests/deploy/values`, and with those that it must refuse.

use super::configured::Configured;
use super::objects::{Objects, helm, list, render};
use super::restricted::violations;
use super::{is_installed, repository, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The files of a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(repository(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The renderings by the names of their values.
static RENDERED: LazyLock<BTreeMap<String, Objects>> = LazyLock::new(|| {
    let rendered = files("tests/deploy/values").into_iter().map(|file| {
        let objects = render(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), objects)
    });
    rendered.collect()
});

/// Calls the check with each rendering and its name.
fn each(check: impl Fn(&str, &Objects)) {
    if is_installed("helm") {
        RENDERED.iter().for_each(|(name, objects)| check(name, objects));
    }
}

#[test]
fn helm_accepts_the_chart_with_all_values() {
    if !is_installed("helm") {
        return;
    }
    let chart = repository("deploy/helm/wharfinger");
    for file in files("tests/deploy/values") {
        let mut lint = helm(&["lint", "--strict"]);
        let (good, output) = run(lint.arg(&chart).arg("--values").arg(&file));
        assert!(good, "{}: {output}", file.display());
    }
    let (good, output) = run(helm(&["lint", "--strict"]).arg(&chart));
    assert!(good, "{output}");
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let text = fs::read_to_string(repository("deploy/helm/wharfinger/Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}

/// The first line of each file has what the message must say.
#[test]
fn impossible_values_are_refused_with_clear_words() {
    if !is_installed("helm") {
        return;
    }
    for file in files("tests/deploy/refused") {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().trim_start_matches("# ");
        let Err(found) = render(&file) else {
            panic!("{} is not refused", file.display());
        };
        assert!(found.contains(expected), "{}: {found}", file.display());
    }
}

#[test]
fn every_pod_is_restricted() {
    each(|name, objects| {
        assert_eq!(violations(&objects.template()["spec"]), [""; 0], "{name}");
    });
}

/// `verify` also opens certificates, signing keys and bundles.
#[test]
fn the_program_accepts_every_configuration() {
    each(|name, objects| {
        let (good, output) = Configured::new(objects).verify();
        assert!(good, "{name}: {output}");
    });
}

#[test]
fn probes_and_the_service_lead_to_the_listeners_of_the_configuration() {
    each(|name, objects| {
        let (_, config) = objects.config();
        let container = objects.container();
        let port_of = |wanted: &str| {
            let ports = list(&container["ports"]);
            let port = ports.iter().find(|port| port["name"] == wanted);
            port.unwrap_or_else(|| panic!("{name}: no port {wanted}"))["containerPort"].clone()
        };
        for listener in [&config["http"], &config["http"]["health"]] {
            let address = listener["address"].as_str().unwrap();
            assert!(["0.0.0.0", "::"].contains(&address), "{name}: {address}");
        }
        for (kind, path) in PROBES {
            let probe = &container[kind]["httpGet"];
            assert_eq!(probe["path"], path, "{name}");
            let port = port_of(probe["port"].as_str().unwrap());
            assert_eq!(port, config["http"]["health"]["port"], "{name}");
        }
        for port in list(&objects.one("Service")["spec"]["ports"]) {
            let port = port_of(port["targetPort"].as_str().unwrap());
            assert_eq!(port, config["http"]["port"], "{name}");
        }
    });
}

#[test]
fn a_registry_with_the_configuration_answers_the_probes() {
    if !is_installed("helm") {
        return;
    }
    for name in ["folder", "mtls"] {
        let objects = &RENDERED[name];
        let paths = PROBES.map(|(_, path)| path.to_owned());
        let answers = Configured::new(objects).probe(&paths);
        for answer in answers {
            // It is not ready before its issuers have answered.
            assert!(
                ["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"].contains(&&*answer),
                "{name}: {answer}"
            );
        }
    }
}

/// Every volume is mounted. Every path in the configuration is in a volume, and what the registry writes is in
/// one that it may write.
#[test]
fn every_path_of_the_configuration_is_in_a_volume() {
    each(|name, objects| {
        let spec = &objects.template()["spec"];
        let names = |values: &Value| -> Vec<String> {
            let names = list(values)
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        let mounts = list(&objects.container()["volumeMounts"]);
        assert_eq!(
            names(&spec["volumes"]),
            names(&objects.container()["volumeMounts"]),
            "{name}"
        );
        let is_in = |path: &str, writable: bool| {
            mounts.iter().any(|mount| {
                let at = mount["mountPath"].as_str().unwrap();
                let below = path
                    .strip_prefix(at)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                below && !(writable && mount["readOnly"] == true)
            })
        };
        let (_, config) = objects.config();
        for written in [&config["stateDirectory"], &config["storage"]["rootDirectory"]] {
            if let Some(path) = written.as_str() {
                assert!(is_in(path, true), "{name}: {path}");
            }
        }
        // The kubelet mounts this folder by itself.
        let of_the_kubelet = "/var/run/secrets/kubernetes.io/serviceaccount/";
        let automatic = spec["automountServiceAccountToken"] == true;
        let mut paths = Vec::new();
        absolute_paths(&config, &mut paths);
        absolute_paths(&objects.container()["env"], &mut paths);
        assert!(!paths.is_empty());
        for path in paths {
            let there = is_in(&path, false) || (automatic && path.starts_with(of_the_kubelet));
            assert!(there, "{name}: {path} is in no volume");
        }
        let arguments = &objects.container()["args"];
        assert!(
            is_in(arguments[1].as_str().unwrap(), false),
            "{name}: {arguments}"
        );
    });
}

/// Every text in the value that is the path of a file, also behind `unix://`.
fn absolute_paths(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let path = text.trim_start_matches("unix://");
            if path.starts_with('/') {
                found.push(path.to_owned());
            }
        }
        Value::Array(values) => values.iter().for_each(|value| absolute_paths(value, found)),
        Value::Object(members) => members.values().for_each(|value| absolute_paths(value, found)),
        _ => {}
    }
}

#[test]
fn every_selector_matches_the_pods() {
    each(|name, objects| {
        let labels = &objects.template()["metadata"]["labels"];
        let mut selectors = vec![
            &objects.one("Deployment")["spec"]["selector"]["matchLabels"],
            &objects.one("Service")["spec"]["selector"],
        ];
        for (kind, key) in [
            ("NetworkPolicy", "podSelector"),
            ("PodDisruptionBudget", "selector"),
        ] {
            selectors.extend(
                objects
                    .find(kind)
                    .map(|object| &object["spec"][key]["matchLabels"]),
            );
        }
        for selector in selectors {
            let selector = selector.as_object().unwrap();
            assert!(!selector.is_empty(), "{name}");
            for (key, value) in selector {
                assert_eq!(&labels[key], value, "{name}: {key}");
            }
        }
    });
}

#[test]
fn only_registries_on_a_shared_bucket_run_side_by_side() {
    each(|name, objects| {
        let spec = &objects.one("Deployment")["spec"];
        let (_, config) = objects.config();
        let driver = &config["storage"]["storageDriver"];
        let shared = driver.is_object() && driver["singleReplica"] != true;
        let strategy = if shared { "RollingUpdate" } else { "Recreate" };
        assert_eq!(spec["strategy"]["type"], strategy, "{name}");
        assert!(shared || spec["replicas"] == 1, "{name}");
        assert_eq!(
            objects.find("PodDisruptionBudget").is_some(),
            spec["replicas"].as_u64() > Some(1),
            "{name}"
        );
        // A surplus Pod must not wait for the volume of another.
        assert_eq!(
            list(&spec["template"]["spec"]["volumes"])
                .iter()
                .any(|volume| !volume["persistentVolumeClaim"].is_null()),
            !driver.is_object(),
            "{name}"
        );
    });
}

#[test]
fn a_network_policy_is_made_unless_it_is_turned_off() {
    each(|name, objects| {
        let Some(policy) = objects.find("NetworkPolicy") else {
            assert_eq!(name, "kubernetes");
            return;
        };
        let rules = list(&policy["spec"]["ingress"]);
        let ports = |rule: &Value| rule["ports"][0]["port"].as_str().unwrap().to_owned();
        assert_eq!(ports(&rules[0]), "registry", "{name}");
        assert_eq!(rules[0]["from"].is_null(), name != "spire", "{name}");
        // The metrics tell strangers about callers, so nobody reads them by default.
        let metrics: Vec<_> = rules[1..].iter().map(ports).collect();
        assert_eq!(
            metrics,
            if name == "bucket" { vec!["health"] } else { vec![] },
            "{name}"
        );
        assert_eq!(
            policy["spec"]["policyTypes"],
            serde_json::json!(["Ingress", "Egress"]),
            "{name}"
        );
    });
}

/// The registry reloads permissions and logins by itself. Everything else takes a restart.
#[test]
fn a_change_that_takes_a_restart_rolls_the_pods() {
    if !is_installed("helm") {
        return;
    }
    let with = |change: &str| {
        let mut command = helm(&["template", "test", "--set", change]);
        command
            .arg("--values")
            .arg(repository("tests/deploy/values/folder.yaml"));
        let (good, output) = run(command.arg(repository("deploy/helm/wharfinger")));
        assert!(good, "{output}");
        Objects::parse(&output)
    };
    let annotation = |objects: &Objects| objects.template()["metadata"]["annotations"].clone();
    let before = &RENDERED["folder"];
    for (change, rolls) in [
        ("config.accessControl.adminPolicy.users[0]=ann", false),
        ("config.http.auth.failDelay=1", false),
        (
            "config.http.auth.token.signingKeyFile=/run/wharfinger/tls/tls.key",
            true,
        ),
        ("config.storage.gc=false", true),
        ("config.log.level=debug", true),
        ("config.http.bodyMemory=128MiB", true),
    ] {
        let after = with(change);
        assert_ne!(before.config().0, after.config().0, "{change}");
        assert_eq!(annotation(before) != annotation(&after), rolls, "{change}");
    }
}

const PROBES: [(&str, &str); 3] = [
    ("startupProbe", "/startupz"),
    ("livenessProbe", "/livez"),
    ("readinessProbe", "/readyz"),
];
