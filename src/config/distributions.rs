//! The form of distribution's configuration, where the driver is a key below `storage`. It is a mistake that shows
//! the right form. The settings are moved to their place, so that they are checked too.

use super::Mistake;
use serde_json::{Map, Value};

/// Moves the settings of a driver that are written as distribution does.
pub(super) fn rewrite(document: &mut Value, mistakes: &mut Vec<Mistake>) {
    let Some(storage) = member(document, "storage").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, driver) in [("s3", "s3"), ("s3aws", "s3"), ("gcs", "gcs"), ("azure", "azure")] {
        let Some(settings) = remove(storage, name) else {
            continue;
        };
        mistakes.push(Mistake::new(
            format!("storage.{name}"),
            format!("is the form of another registry: write these keys as storage.storageDriver, with `name: {driver}` among them"),
        ));
        let mut settings = match settings {
            Value::Object(settings) => settings,
            _ => Map::new(),
        };
        settings.insert("name".to_owned(), driver.into());
        if !storage.keys().any(|key| key.eq_ignore_ascii_case(DRIVER)) {
            storage.insert(DRIVER.to_owned(), Value::Object(settings));
        }
    }
    let Some(filesystem) = remove(storage, "filesystem") else {
        return;
    };
    mistakes.push(Mistake::new(
        "storage.filesystem",
        "is the form of another registry: write the folder as storage.rootDirectory",
    ));
    let folder = filesystem
        .get("rootdirectory")
        .filter(|folder| folder.is_string());
    if let Some(folder) = folder
        && !storage.keys().any(|key| key.eq_ignore_ascii_case(FOLDER))
    {
        storage.insert(FOLDER.to_owned(), folder.clone());
    }
}

fn member<'a>(document: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let mut members = document.as_object_mut()?.iter_mut();
    members
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn remove(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object
        .keys()
        .find(|key| key.eq_ignore_ascii_case(name))
        .cloned()?;
    object.remove(&key)
}

const DRIVER: &str = "storageDriver";
const FOLDER: &str = "rootDirectory";
