//! Exhaustive exploration of a model: every state, the invariants that broke with the shortest way there, and the events
//! that must be reachable so that the invariants are not vacuous.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, Expectation, Model, Path, Property};

/// Explores every state and prints their number. Returns the invariants that broke, each with the shortest path there,
/// and fails if something that must be reachable never happened.
#[expect(clippy::print_stdout, reason = "the number of states")]
pub fn broken_by<M>(name: &str, model: &M) -> BTreeMap<&'static str, Vec<M::Action>>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>,
    M: Clone + Send + Sync + 'static,
{
    let began = Instant::now();
    let checker = model.clone().checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("model {name}: {states} states, depth {depth}, {} ms", began.elapsed().as_millis());
    let mut broken = BTreeMap::new();
    for Property { name: property, expectation, .. } in model.properties() {
        match (expectation, checker.discovery(property)) {
            (Expectation::Always, Some(_)) => {
                let way = shortest_way(property, model, depth);
                println!("  breaks {property:?}: {way:?}");
                broken.insert(property, way);
            }
            (Expectation::Sometimes, None) => panic!("{name}: it never happens that {property}"),
            _ => {}
        }
    }
    broken
}

/// The checker keeps the last path that it found, so the depth is increased step by step.
fn shortest_way<M>(property: &'static str, model: &M, depth: usize) -> Vec<M::Action>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>,
    M: Clone + Send + Sync + 'static,
{
    let within = |depth| model.clone().checker().target_max_depth(depth).spawn_bfs().join().discovery(property);
    (1..=depth + 1).find_map(within).map(Path::into_actions).unwrap_or_default()
}

/// Fails unless every invariant of the model holds in all its states.
pub fn assert_holds<M>(name: &str, model: &M)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>,
    M: Clone + Send + Sync + 'static,
{
    let broken = broken_by(name, model);
    assert!(broken.is_empty(), "{name} breaks {:?}", broken.keys());
}
