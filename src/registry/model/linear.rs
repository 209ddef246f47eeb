//! Checks linearizability: the final state must be one that a registry could reach by handling one request at
//! a time, in some order in which a request that ended before another began comes first. A crashed request
//! may have taken effect or not.

use super::actors::Effect;
use super::phase::{Outcome, Phase};
use super::scenario::Scenario;
use super::values::{Key, Manifest, Tag, Value};
use super::world::World;

/// The visible state: which manifests exist, and where each tag points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    manifests: u8,
    tags: [Option<u8>; 3],
}

impl Seen {
    fn of(world: &World) -> Self {
        let mut seen = Self {
            manifests: 0,
            tags: [None; 3],
        };
        for key in world.keys() {
            if let (Key::Manifest(number), Some(Value::Manifest(state))) = (key, world.get(key))
                && Manifest::is_readable(state)
            {
                seen.manifests |= 1 << number;
            }
        }
        for tag in 0..3_u8 {
            if let Some(Value::Tag(Tag {
                live: true, manifest, ..
            })) = world.get(Key::Tag(tag))
                && seen.has(manifest)
            {
                seen.tags[usize::from(tag)] = Some(manifest);
            }
        }
        seen
    }

    const fn has(self, manifest: u8) -> bool {
        self.manifests & 1 << manifest != 0
    }

    /// `None` if this effect cannot be acknowledged in this state.
    fn after(mut self, effect: Effect, scenario: &Scenario) -> Option<Self> {
        match effect {
            Effect::Push { manifest, tag } => {
                if scenario
                    .options
                    .children_of(manifest)
                    .iter()
                    .any(|child| !self.has(*child))
                {
                    return None;
                }
                self.manifests |= 1 << manifest;
                if let Some(tag) = tag {
                    self.tags[usize::from(tag)] = Some(manifest);
                }
            }
            Effect::DeleteManifest(manifest) => {
                if scenario
                    .options
                    .indexes()
                    .any(|(index, children)| self.has(index) && children.contains(&manifest))
                {
                    return None;
                }
                // Another deletion may have done the work. Both are acknowledged.
                self.manifests &= !(1 << manifest);
                self.tags = self.tags.map(|tag| tag.filter(|leads| *leads != manifest));
            }
            Effect::HeadManifest(manifest) if !self.has(manifest) => return None,
            Effect::HeadManifest(_) | Effect::ListTags => {}
            Effect::CollectManifest(manifest) => {
                let listed = scenario
                    .options
                    .indexes()
                    .any(|(index, children)| self.has(index) && children.contains(&manifest));
                if listed || self.tags.contains(&Some(manifest)) {
                    return None;
                }
                self.manifests &= !(1 << manifest);
            }
            Effect::DeleteTag(tag) | Effect::ExpireTag(tag) => self.tags[usize::from(tag)] = None,
        }
        Some(self)
    }
}

/// Each tag of a listing is checked by itself, because the pages of a listing need not show the same moment.
pub(super) fn is_linear(scenario: &Scenario, world: &World) -> Result<(), String> {
    let done = |at: usize| {
        matches!(
            world.locals[at].phase,
            Phase::Done(Outcome::Acknowledged | Outcome::Listed(_)) | Phase::Crashed
        )
    };
    let waiting: Vec<usize> = (0..scenario.actors.len())
        .filter(|at| done(*at) && scenario.actors[*at].effect().is_some())
        .collect();
    let end = Seen::of(world);
    for tag in 0..3 {
        let search = Search {
            scenario,
            world,
            end,
            tag,
        };
        if !search.reaches(Seen::of(&scenario.start()), &waiting) {
            return Err(format!(
                "no order of what was acknowledged ends with {end:?}, as tag {tag} was listed"
            ));
        }
    }
    Ok(())
}

struct Search<'a> {
    scenario: &'a Scenario,
    world: &'a World,
    end: Seen,
    tag: u8,
}

impl Search<'_> {
    /// Whether some order of the `waiting` leads from here to the end.
    fn reaches(&self, here: Seen, waiting: &[usize]) -> bool {
        if waiting.is_empty() {
            return here == self.end;
        }
        waiting.iter().any(|next| {
            let effect = self.effect(*next);
            // A request cannot come before another one that ended before it began. A crashed request ends
            // when another actor continues its work.
            let is_before =
                |other: &usize| self.world.locals[*next].after & 1 << other != 0 && self.is_done(*other);
            if !effect.is_optional() && waiting.iter().any(is_before) {
                return false;
            }
            let rest: Vec<usize> = waiting.iter().copied().filter(|other| other != next).collect();
            self.ways(here, *next, effect)
                .into_iter()
                .flatten()
                .any(|here| self.reaches(here, &rest))
        })
    }

    /// The possible effects of this actor.
    fn ways(&self, here: Seen, actor: usize, effect: Effect) -> Vec<Option<Seen>> {
        let phase = self.world.locals[actor].phase;
        if effect == Effect::ListTags {
            return match phase {
                Phase::Done(Outcome::Listed(shown))
                    if (shown & 1 << self.tag != 0) != here.tags[usize::from(self.tag)].is_some() =>
                {
                    Vec::new()
                }
                _ => vec![Some(here)],
            };
        }
        let mut ways = vec![here.after(effect, self.scenario)];
        if phase == Phase::Crashed || effect.is_optional() {
            ways.push(Some(here));
            if let Effect::Push {
                manifest,
                tag: Some(tag),
            } = effect
            {
                let untagged = here.after(Effect::Push { manifest, tag: None }, self.scenario);
                // A known limit: the push found the manifest, which has been deleted since, and crashed after
                // it had written the tag.
                let lost = |here: Seen| here.after(Effect::DeleteTag(tag), self.scenario);
                ways.extend([untagged, lost(here), untagged.and_then(lost)]);
            }
        }
        ways
    }

    fn is_done(&self, actor: usize) -> bool {
        self.world.locals[actor].phase != Phase::Crashed
    }

    fn effect(&self, actor: usize) -> Effect {
        self.scenario.actors[actor].effect().expect("it has one")
    }
}
