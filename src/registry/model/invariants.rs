//! The invariants that must hold in every state, and those that must hold once all actors have ended.

use super::actors::Effect;
use super::actors::sessions::WHOLE;
use super::phase::{Outcome, Phase, Why};
use super::scenario::Scenario;
use super::values::{Blob, BlobState, Key, Link, Manifest, Mark, Session, SessionState, Tag, Value};
use super::world::{Bytes, World};

/// A scenario with the invariants that hold in every scenario.
pub(super) fn scenario(name: &'static str) -> Scenario {
    Scenario::new(name)
        .always(bytes_are_published_once)
        .always(links_lead_to_bytes)
        .always(manifests_have_their_blob)
}

fn read<T: TryFrom<Value>>(world: &World, key: Key) -> Option<T> {
    world.get(key).and_then(|value| value.try_into().ok())
}

fn manifest(world: &World, number: u8) -> Option<Manifest> {
    read(world, Key::Manifest(number))
}

fn is_readable(world: &World, number: u8) -> bool {
    manifest(world, number).is_some_and(Manifest::is_readable)
}

/// The manifest that the tag points at, if it is readable.
fn leads_to(world: &World, tag: u8) -> Option<u8> {
    read::<Tag>(world, Key::Tag(tag))
        .and_then(Tag::target)
        .filter(|manifest| is_readable(world, *manifest))
}

fn acknowledged(world: &World, actor: usize) -> bool {
    world.locals[actor].phase == Phase::Done(Outcome::Acknowledged)
}

/// Whether `one` had ended when `other` began.
fn is_before(world: &World, one: usize, other: usize) -> bool {
    world.locals[other].began && world.locals[other].after & 1 << one != 0
}

fn bytes_are_published_once(_: &Scenario, world: &World) -> Result<(), String> {
    if world.published_twice {
        Err("bytes were published twice".into())
    } else {
        Ok(())
    }
}

fn links_lead_to_bytes(scenario: &Scenario, world: &World) -> Result<(), String> {
    for key in world.keys() {
        let Key::Link(_) = key else { continue };
        let Some(generation) = read::<Link>(world, key).and_then(|link| link.generation) else {
            continue;
        };
        let blob = read::<Blob>(world, Key::Blob);
        let Some(blob) = blob.filter(|blob| blob.state != BlobState::Dying) else {
            return Err(format!(
                "{key:?} names the bytes {generation}, and the blob is {blob:?}"
            ));
        };
        // Bytes that were damaged may be replaced under a link.
        if (blob.generation != generation && !scenario.options.damages)
            || world.bytes[usize::from(blob.generation)] == Bytes::Absent
        {
            return Err(format!(
                "{key:?} names the bytes {generation}, and the blob is {blob:?}"
            ));
        }
    }
    Ok(())
}

/// Like [`blobs_have_bytes`], but a condemned record may remain when its bytes are gone, because bytes are
/// checked before they are used.
pub(super) fn living_blobs_have_bytes(scenario: &Scenario, world: &World) -> Result<(), String> {
    match read::<Blob>(world, Key::Blob) {
        Some(blob) if blob.state == BlobState::Live => blobs_have_bytes(scenario, world),
        _ => Ok(()),
    }
}

/// A blob that is not dying has its bytes.
pub(super) fn blobs_have_bytes(_: &Scenario, world: &World) -> Result<(), String> {
    match read::<Blob>(world, Key::Blob) {
        Some(blob)
            if blob.state != BlobState::Dying
                && world.bytes[usize::from(blob.generation)] == Bytes::Absent =>
        {
            Err(format!("the blob has no bytes: {blob:?}"))
        }
        _ => Ok(()),
    }
}

fn manifests_have_their_blob(scenario: &Scenario, world: &World) -> Result<(), String> {
    for repository in scenario.needs_blob() {
        let linked =
            read::<Link>(world, Key::Link(*repository)).is_some_and(|link| link.generation.is_some());
        if is_readable(world, *repository) && !linked {
            return Err(format!(
                "manifest {repository} is committed, and its repository has no link to the blob"
            ));
        }
    }
    Ok(())
}

/// A readable index has its children, and each child has an entry for the index.
pub(super) fn indexes_have_their_children(scenario: &Scenario, world: &World) -> Result<(), String> {
    for (index, children) in scenario
        .options
        .indexes()
        .filter(|(index, _)| is_readable(world, *index))
    {
        for child in children {
            if !is_readable(world, *child) {
                return Err(format!(
                    "index {index} is committed, and its child {child} is {:?}",
                    manifest(world, *child)
                ));
            }
            if read::<Mark>(world, Key::Parent(*child, index)).is_none() {
                return Err(format!(
                    "index {index} is committed, and nothing at its child {child} says so"
                ));
            }
        }
    }
    Ok(())
}

/// An acknowledged tag points at its manifest, and the manifest's deletion finds it, unless a concurrent or
/// later request removed it.
pub(super) fn pushed_tags_stay(scenario: &Scenario, world: &World) -> Result<(), String> {
    for (at, actor) in scenario.actors.iter().enumerate() {
        let Some(Effect::Push {
            manifest: pushed,
            tag: Some(tag),
        }) = actor.effect()
        else {
            continue;
        };
        if !acknowledged(world, at) || is_taken(scenario, world, at, pushed, tag) {
            continue;
        }
        if leads_to(world, tag) != Some(pushed) {
            return Err(format!(
                "tag {tag} was acknowledged on manifest {pushed} and points at {:?}",
                leads_to(world, tag)
            ));
        }
        if read::<Mark>(world, Key::Back(pushed, tag)).is_none() {
            return Err(format!(
                "tag {tag} points at manifest {pushed}, whose deletion would not find it"
            ));
        }
    }
    Ok(())
}

/// Whether another actor may have moved or deleted the tag of this push.
fn is_taken(scenario: &Scenario, world: &World, push: usize, pushed: u8, tag: u8) -> bool {
    scenario.actors.iter().enumerate().any(|(other, actor)| {
        let takes = match actor.effect() {
            Some(Effect::DeleteManifest(deleted)) => deleted == pushed,
            Some(Effect::DeleteTag(deleted) | Effect::ExpireTag(deleted)) => deleted == tag,
            Some(Effect::Push {
                manifest,
                tag: Some(moved),
            }) => moved == tag && manifest != pushed,
            _ => false,
        };
        other != push && takes && world.locals[other].began && !is_before(world, other, push)
    })
}

/// Once the deletion of a manifest is acknowledged, no tag points at it unless it was pushed since, or at the
/// same time.
pub(super) fn deleted_tags_are_gone(scenario: &Scenario, world: &World) -> Result<(), String> {
    for (at, actor) in scenario.actors.iter().enumerate() {
        let Some(Effect::DeleteManifest(deleted)) = actor.effect() else {
            continue;
        };
        if !acknowledged(world, at) {
            continue;
        }
        for tag in (0..4).filter(|tag| leads_to(world, *tag) == Some(deleted)) {
            let pushed = scenario.actors.iter().enumerate().any(|(other, actor)| {
                matches!(actor.effect(), Some(Effect::Push { manifest, tag: Some(pushed) }) if manifest == deleted && pushed == tag)
                    && world.locals[other].began
                    && !is_before(world, other, at)
            });
            if !pushed {
                return Err(format!(
                    "manifest {deleted} was deleted, and tag {tag} still points at it"
                ));
            }
        }
    }
    Ok(())
}

/// While a deletion removes the tags of a dying manifest, there is a marker.
pub(super) fn dying_manifests_are_marked(_: &Scenario, world: &World) -> Result<(), String> {
    for local in &world.locals {
        let (Phase::Tags {
            manifest: seen,
            why: Why::Deleted,
            ..
        }
        | Phase::Backs {
            manifest: seen,
            why: Why::Deleted,
            ..
        }) = local.phase
        else {
            continue;
        };
        let Key::Manifest(number) = seen.key else { continue };
        if manifest(world, number) == Some(Manifest::Dying)
            && read::<Mark>(world, Key::Marker(number)).is_none()
        {
            return Err(format!(
                "the tags of manifest {number} go, it is dying, and no marker says so"
            ));
        }
    }
    Ok(())
}

/// Content that was pushed, or found by a caller who may push, is kept for at least half of the grace period.
/// No request takes longer than that.
pub(super) fn acknowledged_is_not_old(scenario: &Scenario, world: &World) -> Result<(), String> {
    for (at, actor) in scenario.actors.iter().enumerate() {
        let (manifest, tag) = match actor.effect() {
            Some(Effect::Push { manifest, tag }) => (manifest, tag),
            Some(Effect::HeadManifest(manifest)) => (manifest, None),
            _ => continue,
        };
        let local = &world.locals[at];
        if !acknowledged(world, at) || world.now > local.ended_at || local.ended_at > local.began_at + 1 {
            continue;
        }
        if !is_readable(world, manifest) {
            return Err(format!(
                "manifest {manifest} was acknowledged just now, and is gone"
            ));
        }
        if let Some(tag) = tag
            && leads_to(world, tag) != Some(manifest)
        {
            return Err(format!("tag {tag} was acknowledged just now, and is gone"));
        }
    }
    Ok(())
}

/// A client that begins after the damage was found does not get the damaged bytes.
pub(super) fn damage_is_not_passed_on(scenario: &Scenario, world: &World) -> Result<(), String> {
    for (at, repository) in scenario.relying() {
        if !acknowledged(world, at) || world.locals[at].after & 1 << 7 == 0 {
            continue;
        }
        let generation = read::<Link>(world, Key::Link(repository)).and_then(|link| link.generation);
        if generation.is_some_and(|generation| world.bytes[usize::from(generation)] == Bytes::Damaged) {
            return Err(format!(
                "{:?} was acknowledged after the damage was found, and gets damaged bytes",
                scenario.actors[at]
            ));
        }
    }
    Ok(())
}

/// A repository has good bytes after an acknowledged push of good bytes.
pub(super) fn pushed_bytes_are_good(scenario: &Scenario, world: &World) -> Result<(), String> {
    for (at, repository) in scenario
        .relying()
        .filter(|(at, _)| scenario.actors[*at].brings_bytes() && acknowledged(world, *at))
    {
        let generation = read::<Link>(world, Key::Link(repository)).and_then(|link| link.generation);
        if generation.is_some_and(|generation| world.bytes[usize::from(generation)] == Bytes::Damaged) {
            return Err(format!(
                "{:?} was acknowledged, and its repository has damaged bytes",
                scenario.actors[at]
            ));
        }
    }
    Ok(())
}

/// Good bytes are not marked as suspect.
pub(super) fn good_bytes_are_not_suspect(_: &Scenario, world: &World) -> Result<(), String> {
    match read::<Blob>(world, Key::Blob) {
        Some(blob) if blob.suspect && world.bytes[usize::from(blob.generation)] == Bytes::Good => {
            Err(format!("good bytes are suspect: {blob:?}"))
        }
        _ => Ok(()),
    }
}

/// A tag's history has no gap, and each entry is the one that the next entry names as its predecessor.
pub(super) fn history_is_a_chain(_: &Scenario, world: &World) -> Result<(), String> {
    for tag in 0..2 {
        let Some(now) = read::<Tag>(world, Key::Tag(tag)) else {
            match (0..8).find(|sequence| world.get(Key::Past(tag, *sequence)).is_some()) {
                Some(_) => return Err(format!("tag {tag} has a history and no record")),
                None => continue,
            }
        };
        let mut next = now;
        for sequence in (1..now.sequence).rev() {
            match read::<Tag>(world, Key::Past(tag, sequence)) {
                Some(entry) if entry.sequence == sequence && Some(entry.event) == next.previous => {
                    next = entry
                }
                other => {
                    return Err(format!(
                        "entry {sequence} of tag {tag} is {other:?}, and what follows it is {next:?}"
                    ));
                }
            }
        }
        if next.previous.is_some() {
            return Err(format!("the history of tag {tag} does not begin: {next:?}"));
        }
        // A push archives the current record before it moves the tag.
        let early = read::<Tag>(world, Key::Past(tag, now.sequence));
        if early.is_some_and(|entry| entry != now) || world.get(Key::Past(tag, now.sequence + 1)).is_some() {
            return Err(format!(
                "tag {tag} is {now:?}, and there is an entry of later: {early:?}"
            ));
        }
    }
    Ok(())
}

/// The bytes of an upload match its record, in order, and so do the published bytes.
pub(super) fn uploads_are_what_was_acknowledged(_: &Scenario, world: &World) -> Result<(), String> {
    let Some(session) = read::<Session>(world, Key::Session) else {
        return Ok(());
    };
    let mut content = [0; 4];
    for (at, part) in session.parts.iter().flatten().enumerate() {
        content[at] = part.chunk;
        if usize::from(part.at) != at {
            return Err(format!(
                "chunk {} was meant to be at {}, and is at {at}",
                part.chunk, part.at
            ));
        }
        if session.state == SessionState::Open
            && world.bytes[usize::from(part.name)] != Bytes::Content([part.chunk, 0, 0, 0])
        {
            return Err(format!(
                "chunk {} was acknowledged, and its part is {:?}",
                part.chunk,
                world.bytes[usize::from(part.name)]
            ));
        }
    }
    let blob = read::<Blob>(world, Key::Blob);
    let whole = world.bytes[usize::from(WHOLE)];
    if blob.is_some_and(|blob| blob.generation == WHOLE && blob.state == BlobState::Live)
        && whole != Bytes::Content(content)
    {
        return Err(format!(
            "the upload is {content:?}, and what it became is {whole:?}"
        ));
    }
    Ok(())
}

/// A chunk that was acknowledged is in the upload.
pub(super) fn acknowledged_chunks_are_kept(scenario: &Scenario, world: &World) -> Result<(), String> {
    let session = read::<Session>(world, Key::Session);
    for (at, chunk) in scenario.chunks() {
        let kept = session.is_some_and(|session| {
            session
                .parts
                .iter()
                .flatten()
                .filter(|part| part.chunk == chunk)
                .count()
                == 1
        });
        if acknowledged(world, at) && !kept {
            return Err(format!(
                "chunk {chunk} was acknowledged, and the upload is {session:?}"
            ));
        }
    }
    Ok(())
}

/// After a restart has finished interrupted work, there are no markers, no dying or pending manifests, and no
/// entries of deleted indexes.
pub(super) fn nothing_is_left(_: &Scenario, world: &World) -> Result<(), String> {
    for key in world.keys() {
        let left = match key {
            Key::Marker(_) => true,
            Key::Manifest(number) => !is_readable(world, number),
            Key::Parent(_, index) => !is_readable(world, index),
            _ => false,
        };
        if left {
            return Err(format!("{key:?} is left for ever: {:?}", world.get(key)));
        }
    }
    Ok(())
}

/// Only a push that crashed, and so was never acknowledged, leaves a tag that points at nothing.
pub(super) fn no_tag_leads_nowhere(scenario: &Scenario, world: &World) -> Result<(), String> {
    let crashed = |wanted: u8| {
        let pushes = |effect| matches!(effect, Some(Effect::Push { tag, .. }) if tag == Some(wanted));
        (0..scenario.actors.len())
            .any(|at| pushes(scenario.actors[at].effect()) && world.locals[at].phase == Phase::Crashed)
    };
    for key in world.keys() {
        match key {
            Key::Tag(tag)
                if read::<Tag>(world, key).is_some_and(|record| record.live)
                    && leads_to(world, tag).is_none()
                    && !crashed(tag) =>
            {
                return Err(format!("tag {tag} points at nothing: {:?}", world.get(key)));
            }
            Key::Back(of, tag) if manifest(world, of).is_none() && !crashed(tag) => {
                return Err(format!("{key:?} is left of a manifest that is gone"));
            }
            _ => {}
        }
    }
    Ok(())
}
