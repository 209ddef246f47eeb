//! A real API server checks every object of the chart and of the plain manifests. `WHARFINGER_KUBECONFIG` names a
//! kubeconfig of its administrator. Without it, nothing is checked here.

use super::objects::{Objects, render};
use super::repository;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

const NAMESPACE: &str = "wharfinger-dry-run";

#[test]
fn an_api_server_accepts_every_object_in_a_restricted_namespace() {
    let Some(kubeconfig) = std::env::var_os("WHARFINGER_KUBECONFIG") else {
        return;
    };
    let server = Server(&kubeconfig);
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}});
    server.apply(&namespace, true);
    for entry in fs::read_dir(repository("tests/deploy/values")).unwrap() {
        let objects = render(&entry.unwrap().path()).unwrap();
        server.accepts(&objects, Some(NAMESPACE));
    }
    for name in ["folder", "bucket", "kubelet-plugin"] {
        let file = repository(&format!("deploy/kubernetes/{name}.yaml"));
        let objects = Objects::parse(&fs::read_to_string(file).unwrap());
        server.accepts(&objects, None);
    }
}

struct Server<'a>(&'a OsStr);

impl Server<'_> {
    /// Puts the objects into this namespace, or leaves them in their own.
    fn accepts(&self, objects: &Objects, namespace: Option<&str>) {
        for object in objects.all() {
            let mut object = object.clone();
            let of_the_cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding"];
            let kind = object["kind"].as_str().unwrap().to_owned();
            if let (Some(namespace), false) = (namespace, of_the_cluster.contains(&&*kind)) {
                object["metadata"]["namespace"] = namespace.into();
            }
            // Its API is not part of Kubernetes.
            if object["apiVersion"]
                .as_str()
                .unwrap()
                .starts_with("cert-manager.io/")
            {
                continue;
            }
            // The server refuses objects of a namespace that is missing.
            self.apply(&object, kind == "Namespace");
            let template = &object["spec"]["template"];
            if template.is_object() {
                let mut pod = template.clone();
                pod["apiVersion"] = "v1".into();
                pod["kind"] = "Pod".into();
                pod["metadata"]["name"] = object["metadata"]["name"].clone();
                pod["metadata"]["namespace"] = object["metadata"]["namespace"].clone();
                let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
                let metadata = json!({"name": account, "namespace": pod["metadata"]["namespace"]});
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
                // The server refuses a Pod whose service account is missing.
                self.apply(&account, true);
                self.apply(&pod, false);
            }
        }
    }

    /// Asks what the server would do, or really creates the object.
    fn apply(&self, object: &Value, really: bool) {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.0)
            .args(["apply", "--server-side", "--force-conflicts"]);
        if !really {
            command.arg("--dry-run=server");
        }
        let mut kubectl = command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("kubectl cannot be started: {why}"));
        let mut input = kubectl.stdin.take().unwrap();
        input.write_all(object.to_string().as_bytes()).unwrap();
        drop(input);
        let output = kubectl.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // A restricted namespace warns about a Deployment whose Pods it would refuse.
        assert!(
            output.status.success() && !said.contains("would violate PodSecurity"),
            "{said}\n{object}"
        );
    }
}
