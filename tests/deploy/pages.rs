//! The commands and files on the pages about deployment.

use super::configured::Configured;
use super::objects::{Objects, helm};
use super::{is_installed, repository, run};
use std::fs;

/// The code blocks of a page in one language.
pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(repository(page)).unwrap();
    let opened = format!("```{language}\n");
    let found: Vec<_> = text
        .split(&opened)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect();
    assert!(!found.is_empty(), "{page} has no {language}");
    found
}

/// Each `helm` command of the page renders each file of values on it. There is no cluster, so `helm template` stands in
/// for the commands that need one.
#[test]
fn the_page_about_helm_has_commands_and_values_that_work() {
    const PAGE: &str = "docs/how-to/helm.md";
    if !is_installed("helm") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository("deploy"), folder.path().join("deploy")).unwrap();
    let commands = blocks(PAGE, "sh").concat();
    let commands: Vec<_> = commands
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("helm "))
        .collect();
    assert!(!commands.is_empty());
    for values in blocks(PAGE, "yml") {
        fs::write(folder.path().join("values.yaml"), &values).unwrap();
        for command in &commands {
            let offline = command.replace("upgrade --install", "template");
            let arguments: Vec<_> = offline
                .split_whitespace()
                .filter(|argument| *argument != "--create-namespace")
                .collect();
            let (good, output) = run(helm(&arguments).current_dir(folder.path()));
            assert!(good, "helm {command}\n{values}\n{output}");
            if arguments[0] == "template" {
                let objects = Objects::parse(&output);
                let (good, output) = Configured::new(&objects).verify();
                assert!(good, "{values}\n{output}");
            }
        }
    }
}
