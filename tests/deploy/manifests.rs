//! The plain manifests in `deploy/kubernetes` are the chart's, so that the two never differ.
//! `UPDATE_DOCS=1 cargo test --test deploy` writes them.

use super::configured::Configured;
use super::objects::list;
use super::objects::{Objects, helm};
use super::pages::blocks;
use super::restricted::violations;
use super::{is_installed, repository, run};
use serde_json::Value;
use std::fs;
use std::process::Command;

const NAMESPACE: &str = "\
# Made from NAME.values.yaml by `UPDATE_DOCS=1 cargo test --test deploy`. Change the hosts and names, then:
#
#   kubectl apply -f NAME.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: wharfinger
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

#[test]
fn the_plain_manifests_are_those_of_the_chart() {
    if !is_installed("helm") {
        return;
    }
    for name in ["folder", "bucket"] {
        let values = repository(&format!("deploy/kubernetes/{name}.values.yaml"));
        let mut template = helm(&["template", "wharfinger", "--namespace", "wharfinger"]);
        template.arg("--values").arg(values);
        let (good, rendered) = run(template.arg(repository("deploy/helm/wharfinger")));
        assert!(good, "{rendered}");
        let expected = NAMESPACE.replace("NAME", name) + &plain(&rendered);
        let file = repository(&format!("deploy/kubernetes/{name}.yaml"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, &expected).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == expected,
            "{} is out of date: run `UPDATE_DOCS=1 cargo test --test deploy`",
            file.display()
        );
        let objects = Objects::parse(&found);
        let (good, output) = Configured::new(&objects).verify();
        assert!(good, "{name}: {output}");
        assert_eq!(violations(&objects.template()["spec"]), [""; 0], "{name}");
        for object in objects.all().iter().skip(1) {
            assert_eq!(object["metadata"]["namespace"], "wharfinger", "{name}: {object}");
        }
    }
}

/// Removes what only helm needs, and names the namespace, which `helm install` would.
fn plain(rendered: &str) -> String {
    let mut text = String::new();
    let mut annotations = None;
    for line in rendered.lines() {
        if line.starts_with("# Source: ") {
            continue;
        }
        if line == "  annotations:" {
            annotations = Some(line);
            continue;
        }
        // The chart's only annotations at the top of an object are those for helm and a comment about them.
        if annotations.is_some() && line.starts_with("    ") {
            assert!(
                line.starts_with("    #") || line.starts_with("    helm.sh/"),
                "{line}"
            );
            continue;
        }
        annotations = None;
        text += line;
        text += "\n";
        if line == "metadata:" {
            text += "  namespace: wharfinger\n";
        }
    }
    text
}

/// The installer writes a folder of the node as root, and needs no other exception from the restricted profile.
#[test]
fn the_daemon_set_installs_the_kubelets_plugin() {
    let text = fs::read_to_string(repository("deploy/kubernetes/kubelet-plugin.yaml")).unwrap();
    let objects = Objects::parse(&text);
    let spec = &objects.one("DaemonSet")["spec"]["template"]["spec"];
    let exceptions = ["volume hostPath", "install: runAsNonRoot", "install: runAsUser"];
    assert_eq!(violations(spec), exceptions);

    let installer = &spec["initContainers"][0];
    let arguments: Vec<_> = list(&installer["args"])
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let [option, folder] = arguments[..] else {
        panic!("{arguments:?}");
    };
    assert_eq!(folder, installer["volumeMounts"][0]["mountPath"]);
    let node = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_wharfinger-credential-provider");
    let (good, output) = run(Command::new(program).arg(option).arg(node.path()));
    assert!(good, "{output}");
    let installed = node.path().join("wharfinger-credential-provider");
    let (good, output) = run(Command::new(installed).arg("--version"));
    assert!(good && output.contains(env!("CARGO_PKG_VERSION")), "{output}");
    let image = installer["image"].as_str().unwrap();
    assert!(
        image.ends_with(&format!(":{}", env!("CARGO_PKG_VERSION"))),
        "{image}"
    );
}

/// The kubelet may request tokens for the audience that its configuration names.
#[test]
fn nodes_may_request_tokens_for_the_audience_of_the_page() {
    let text = fs::read_to_string(repository("deploy/kubernetes/kubelet-plugin.yaml")).unwrap();
    let objects = Objects::parse(&text);
    let page = blocks("docs/how-to/clients/kubelet.md", "text");
    let kubelet: Value = serde_saphyr::from_str(&page[0]).unwrap();
    let provider = &kubelet["providers"][0];
    assert_eq!(provider["name"], "wharfinger-credential-provider");
    let rule = &objects.one("ClusterRole")["rules"][0];
    let audience = &provider["tokenAttributes"]["serviceAccountTokenAudience"];
    assert_eq!(&rule["resources"][0], audience);
    let binding = objects.one("ClusterRoleBinding");
    assert_eq!(
        binding["roleRef"]["name"],
        objects.one("ClusterRole")["metadata"]["name"]
    );
    let on_the_page = Objects::parse(&format!("\n{}", page[1]).replace("\n  ", "\n"));
    assert_eq!(on_the_page.one("ClusterRole")["rules"][0], *rule);
}
