//! The plain manifests in `deploy/kubernetes` are the chart's, so that the two never differ.
//! `UPDATE_DOCS=1 cargo test --test deploy` writes them.

use super::configured::Configured;
use super::objects::{Objects, helm};
use super::restricted::violations;
use super::{is_installed, repository, run};
use std::fs;

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
