//! The restricted profile of Kubernetes' Pod Security Standards, as of Kubernetes 1.34.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>

use super::objects::list;
use serde_json::{Value, json};

/// How a Pod's spec violates the profile.
pub(crate) fn violations(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[key] == true {
            found.push(key.to_owned());
        }
    }
    for volume in list(&spec["volumes"]) {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        found.extend(
            kinds
                .filter(|kind| !VOLUMES.contains(&kind.as_str()))
                .map(|kind| format!("volume {kind}")),
        );
    }
    let pod = &spec["securityContext"];
    for container in ["initContainers", "containers"]
        .iter()
        .flat_map(|key| list(&spec[*key]))
    {
        let own = &container["securityContext"];
        let of_either = |key: &str| if own[key].is_null() { &pod[key] } else { &own[key] };
        let name = container["name"].as_str().unwrap();
        let mut check = |holds: bool, what: &str| {
            if !holds {
                found.push(format!("{name}: {what}"));
            }
        };
        check(own["privileged"] != true, "privileged");
        check(
            own["allowPrivilegeEscalation"] == false,
            "allowPrivilegeEscalation",
        );
        check(own["capabilities"]["drop"] == json!(["ALL"]), "capabilities.drop");
        let added = list(&own["capabilities"]["add"]);
        check(
            added.iter().all(|it| it == "NET_BIND_SERVICE"),
            "capabilities.add",
        );
        check(of_either("runAsNonRoot") == true, "runAsNonRoot");
        check(of_either("runAsUser") != 0, "runAsUser");
        let profile = &of_either("seccompProfile")["type"];
        check(
            profile == "RuntimeDefault" || profile == "Localhost",
            "seccompProfile",
        );
        check(
            list(&container["ports"])
                .iter()
                .all(|port| port["hostPort"].is_null()),
            "hostPort",
        );
        // The profile does not ask for this, but this chart does.
        check(own["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
    }
    found
}

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

#[test]
fn a_pod_without_restrictions_violates_the_profile() {
    let pod = json!({
        "hostNetwork": true,
        "volumes": [{"name": "a", "hostPath": {"path": "/"}}],
        "containers": [{"name": "b", "ports": [{"hostPort": 1}], "securityContext": {"privileged": true, "runAsUser": 0}}],
    });
    assert_eq!(
        violations(&pod),
        [
            "hostNetwork",
            "volume hostPath",
            "b: privileged",
            "b: allowPrivilegeEscalation",
            "b: capabilities.drop",
            "b: runAsNonRoot",
            "b: runAsUser",
            "b: seccompProfile",
            "b: hostPort",
            "b: readOnlyRootFilesystem",
        ]
    );
}
