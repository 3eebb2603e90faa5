//! Random calls against the model, with commits that lag behind, crashes and repeats.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Call, Gist, Model, gist};
use super::world::World;
use crate::brain::namespace::{Namespace, Node};
use crate::brain::{Brain, BrainConfig, Event, Ordinal, Token};
use gfs_types::{InodeId, Millis, ROOT_INODE};

/// Of the cluster in these tests: short, so that no client is forgotten when it is over.
const TRASH_PERIOD: Millis = Millis(10_000);

/// A cluster with a trash.
fn config() -> BrainConfig {
    BrainConfig { trash_period: Some(TRASH_PERIOD), ..super::world::config() }
}

#[derive(Clone, Debug)]
enum Deed {
    Call(Call),
    /// Restores an entry of the trash (which one), or gives it up; or one that is not there.
    FromTrash {
        which: usize,
        to: Option<String>,
        empty: bool,
    },
    /// The time of all that is in the trash is over.
    Expire,
    /// Sends an earlier mutation again (counted from the last one).
    Repeat(usize),
    Commit(usize),
    Tick,
    /// The master dies with what is not committed.
    Crash,
    /// A brain loaded from the store is the same as this one.
    Compare,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ccccccccccccccccccccc"]), 1..5)
        .prop_map(|names| names.iter().fold(String::new(), |path, name| path + "/" + name))
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (path(), any::<bool>()).prop_map(|(path, parents)| Call::Mkdir { path, parents }),
        4 => (path(), any::<bool>()).prop_map(|(path, parents)| Call::Create { path, parents }),
        3 => (path(), path(), any::<bool>())
            .prop_map(|(from, to, replace)| Call::Rename { from, to, replace }),
        3 => (path(), any::<bool>(), prop::bool::weighted(0.3)).prop_map(
            |(path, recursive, skip_trash)| Call::Remove { path, recursive, skip_trash }
        ),
        1 => prop::bool::weighted(0.2).prop_map(|all| {
            if all { Call::Empty { inode: None } } else { Call::Trash }
        }),
        3 => path().prop_map(|path| Call::Stat { path }),
        2 => path().prop_map(|path| Call::List { path }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        20 => call().prop_map(Deed::Call),
        2 => (0_usize..4, prop::option::of(path()), prop::bool::weighted(0.2))
            .prop_map(|(which, to, empty)| Deed::FromTrash { which, to, empty }),
        1 => Just(Deed::Expire),
        3 => (0_usize..4).prop_map(Deed::Repeat),
        6 => (1_usize..4).prop_map(Deed::Commit),
        2 => Just(Deed::Tick),
        1 => Just(Deed::Crash),
        1 => Just(Deed::Compare),
    ]
}

/// A call whose answer is awaited.
struct Asked {
    call: Call,
    expected: Gist,
    /// What was durable when it was made.
    committed: Ordinal,
    operation: (u64, u64),
    is_repeat: bool,
}

struct Run {
    world: World,
    model: Model,
    /// The model as of each group since the last start: the first is what was loaded.
    history: Vec<Model>,
    asked: BTreeMap<Token, Asked>,
    /// Mutations made: their operation and call.
    made: Vec<((u64, u64), Call)>,
    /// Operations that failed for good in this term.
    failed: BTreeMap<(u64, u64), Gist>,
    sequence: u64,
    answered: u64,
}

impl Run {
    fn new(world: World) -> Self {
        let model = Model::new();
        let mut run = Self {
            world,
            history: Vec::new(),
            model,
            asked: BTreeMap::new(),
            made: Vec::new(),
            failed: BTreeMap::new(),
            sequence: 0,
            answered: 0,
        };
        run.extend_history();
        run
    }

    fn last(&self) -> Ordinal {
        self.world.queue.back().map_or(self.world.committed, |(last, ..)| *last)
    }

    /// The model now is that of every group made since.
    fn extend_history(&mut self) {
        let groups = usize::try_from(self.last().0).unwrap() + 1;
        self.history.resize(groups.max(self.history.len()), self.model.clone());
    }

    fn call(&mut self, operation: (u64, u64), call: Call) -> Result<(), TestCaseError> {
        let known = self.model.done.get(&operation).or(self.failed.get(&operation)).cloned();
        self.model.now = self.world.now;
        let before = (self.model.nodes.clone(), self.model.trash.clone());
        let is_repeat = known.is_some();
        let expected = match known {
            Some(known) => self.remade(known),
            None => {
                let answer = self.model.call(&call);
                if call.is_mutation() {
                    if before == (self.model.nodes.clone(), self.model.trash.clone()) {
                        self.failed.insert(operation, answer.clone());
                    } else {
                        self.model.done.insert(operation, answer.clone());
                    }
                }
                answer
            }
        };
        let header = self.world.header(operation.0, operation.1);
        let committed = self.world.committed;
        let token = self.world.call(call.request(header));
        self.asked.insert(token, Asked { call, expected, committed, operation, is_repeat });
        self.extend_history();
        self.check_replies()
    }

    /// What a repeat is answered: the inode it made, as it is now.
    fn remade(&self, known: Gist) -> Gist {
        match known {
            Gist::Node(inode, _) => {
                let now = self.model.nodes.iter().find(|(_, (id, _))| *id == inode);
                match now {
                    Some((path, _)) => self.model.clone().call(&Call::Stat { path: path.clone() }),
                    // While it is being taken down its attributes are still known.
                    None => Gist::Node(inode, None),
                }
            }
            other => other,
        }
    }

    fn check_replies(&mut self) -> Result<(), TestCaseError> {
        for (token, reply) in std::mem::take(&mut self.world.replies) {
            let asked = self.asked.remove(&token).expect("nobody asked");
            let answer = gist(&reply);
            match (&answer, &asked.expected) {
                (Gist::Node(inode, _), Gist::Node(expected, None)) => {
                    prop_assert_eq!(inode, expected, "{:?}", asked.call);
                }
                _ => prop_assert_eq!(&answer, &asked.expected, "{:?}", asked.call),
            }
            self.answered += 1;
            let durable = &self.history[self.world.committed.0 as usize];
            let changed = self.model.done.contains_key(&asked.operation);
            if asked.is_repeat || changed {
                prop_assert!(
                    !changed || durable.done.contains_key(&asked.operation),
                    "{:?} is answered and not durable",
                    asked.call
                );
                continue;
            }
            // Linearizable: it is the answer at some moment between call and reply, and of what
            // was durable at that moment.
            let moments = asked.committed.0 as usize..=self.world.committed.0 as usize;
            let explained = self.history[moments.clone()]
                .iter()
                .any(|model| model.clone().call(&asked.call) == answer);
            prop_assert!(explained, "{:?} answered {answer:?}, durable {moments:?}", asked.call);
        }
        Ok(())
    }

    /// Every answered mutation is durable.
    fn commit(&mut self) -> Result<(), TestCaseError> {
        self.world.commit_one();
        self.check_replies()
    }

    fn crash(&mut self) {
        let committed = self.world.committed.0 as usize;
        self.world.crash();
        self.model = self.history[committed].clone();
        self.history = vec![self.model.clone()];
        self.asked.clear();
        self.failed.clear();
    }

    fn tick(&mut self) -> Result<(), TestCaseError> {
        let now = self.world.now;
        self.model.trash.retain(|_, removed| removed.at + TRASH_PERIOD > now);
        self.world.step(Event::Tick);
        self.extend_history();
        self.check_replies()
    }

    fn new_call(&mut self, call: Call) -> Result<(), TestCaseError> {
        let mut sequence = 0;
        if call.is_mutation() {
            self.sequence += 1;
            sequence = self.sequence;
            self.made.push(((7, sequence), call.clone()));
        }
        self.call((7, sequence), call)
    }

    fn deed(&mut self, deed: Deed) -> Result<(), TestCaseError> {
        match deed {
            Deed::Call(call) => self.new_call(call),
            Deed::FromTrash { which, to, empty } => {
                let inode = self.model.trash.keys().nth(which).copied().unwrap_or(which as u64);
                self.new_call(if empty {
                    Call::Empty { inode: Some(inode) }
                } else {
                    Call::Restore { inode, to: to.unwrap_or_default() }
                })
            }
            Deed::Expire => {
                self.world.now = self.world.now + TRASH_PERIOD;
                self.tick()
            }
            Deed::Repeat(back) => {
                let Some((operation, call)) = self.made.iter().rev().nth(back).cloned() else {
                    return Ok(());
                };
                self.call(operation, call)
            }
            Deed::Commit(groups) => {
                for _ in 0..groups {
                    self.commit()?;
                }
                Ok(())
            }
            Deed::Tick => self.tick(),
            Deed::Crash => {
                self.crash();
                Ok(())
            }
            Deed::Compare => {
                while self.world.commit_one() {
                    self.check_replies()?;
                }
                let loaded = self.world.load();
                prop_assert_eq!(tree(&loaded), tree(&self.world.brain));
                prop_assert_eq!(&loaded.trash, &self.world.brain.trash);
                prop_assert!(self.asked.is_empty(), "everything committed is answered");
                Ok(())
            }
        }
    }
}

/// The whole tree in a form that can be compared.
fn tree(brain: &Brain) -> Vec<(InodeId, Node)> {
    nodes(&brain.namespace)
}

fn nodes(namespace: &Namespace) -> Vec<(InodeId, Node)> {
    let all = namespace.iter_from(InodeId(0)).map(|(id, node)| (id, node.clone()));
    all.map(|(id, mut node)| {
        if let crate::brain::namespace::Body::Directory(directory) = &mut node.body {
            // Blocks may be cut differently.
            let children: Vec<_> = namespace.list(directory, "").collect();
            **directory = crate::brain::namespace::Directory {
                descendants: directory.descendants,
                files: directory.files,
                copies: children.len() as u8,
                ..Default::default()
            };
            if id != ROOT_INODE && id.0 != 2 {
                assert!(namespace.get(node.parent).is_some());
            }
        }
        (id, node)
    })
    .collect()
}

fn play(world: World, deeds: Vec<Deed>) -> Result<u64, TestCaseError> {
    let mut run = Run::new(world);
    for deed in deeds {
        run.deed(deed)?;
    }
    run.deed(Deed::Compare)?;
    Ok(run.answered)
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec(deed(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_brain_is_a_namespace(deeds in deeds()) {
        play(World::with(config()), deeds)?;
    }
}

#[test]
fn the_random_calls_are_answered() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let answered = std::cell::Cell::new(0);
    runner
        .run(&deeds(), |deeds| {
            answered.set(answered.get() + play(World::with(config()), deeds)?);
            Ok(())
        })
        .unwrap();
    assert!(answered.get() > 5_000, "{} answers were checked", answered.get());
}

#[cfg(feature = "planted-mistakes")]
#[test]
fn planted_mistakes_are_caught() {
    use crate::mistakes::{Mistake, Mistakes};
    for mistake in [Mistake::MasterRepliesBeforeCommit, Mistake::MasterForgetsOutcomes] {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let result = runner.run(&deeds(), |deeds| {
            let mistakes = Mistakes::default().with(mistake);
            play(World::with(BrainConfig { mistakes, ..config() }), deeds).map(|_| ())
        });
        assert!(result.is_err(), "{mistake:?} was not noticed");
    }
}
