//! The objects that the chart makes, and what is asked of them.

use super::{repository, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The objects of one rendering.
pub(crate) struct Objects(Vec<Value>);

/// Helm itself, with the Kubernetes version of the cluster that it would ask.
pub(crate) fn helm(arguments: &[&str]) -> Command {
    let mut command = Command::new("helm");
    command.args(arguments).args(["--kube-version", "1.34.0"]);
    command
}

/// Renders the chart with a file of values as the release `test`. Fails with helm's message.
pub(crate) fn render(values: &Path) -> Result<Objects, String> {
    let chart = repository("deploy/helm/wharfinger");
    let mut command = helm(&["template", "test"]);
    let (rendered, output) = run(command.arg(chart).arg("--values").arg(values));
    if rendered {
        Ok(Objects::parse(&output))
    } else {
        Err(output)
    }
}

impl Objects {
    pub(crate) fn parse(text: &str) -> Self {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        for object in &objects {
            for key in ["apiVersion", "kind", "metadata"] {
                assert!(!object[key].is_null(), "no {key}: {object}");
            }
        }
        Self(objects)
    }

    pub(crate) fn all(&self) -> &[Value] {
        &self.0
    }

    /// The only object of a kind, if there is one.
    pub(crate) fn find(&self, kind: &str) -> Option<&Value> {
        let mut found = self.0.iter().filter(|object| object["kind"] == kind);
        let first = found.next();
        assert!(found.next().is_none(), "several of {kind}");
        first
    }

    pub(crate) fn one(&self, kind: &str) -> &Value {
        self.find(kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    /// The Pod template of the registry.
    pub(crate) fn template(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]
    }

    /// The registry's container.
    pub(crate) fn container(&self) -> &Value {
        &self.template()["spec"]["containers"][0]
    }

    /// The configuration in the ConfigMap.
    pub(crate) fn config(&self) -> (&str, Value) {
        let text = self.one("ConfigMap")["data"]["config.yaml"].as_str().unwrap();
        (text, serde_saphyr::from_str(text).unwrap())
    }
}

/// The elements of a list, or none if it is missing.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
