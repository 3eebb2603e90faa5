//! Steps of a scenario that wait for their moment: *when a primary has written so much, kill it*.

use crate::clock::Time;
use crate::context::Process;
use crate::faults::Fault;
use crate::network::Node;
use crate::scenario::{Deed, Moment, Step, Whom};
use crate::server::Server;

/// The steps that are still to come.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    coming: Vec<Step>,
    /// When the last one was done, and to whom.
    last: Option<(Time, Node)>,
}

impl Steps {
    /// These steps, in order.
    #[must_use]
    pub fn new(mut steps: Vec<Step>) -> Self {
        steps.reverse();
        Self { coming: steps, last: None }
    }

    /// What is to be done now.
    pub fn due(&mut self, now: Time, servers: &[Server]) -> Vec<Fault> {
        let mut due = Vec::new();
        while let Some(step) = self.coming.last().copied() {
            let least = match step.moment {
                Moment::Written(bytes) => bytes,
                Moment::After(micros) => {
                    let Some((at, _)) = self.last else { break };
                    if now < at.plus(micros) {
                        break;
                    }
                    0
                }
            };
            let written = servers
                .iter()
                .enumerate()
                .find_map(|(at, server)| server.written(least).map(|members| (at, members)));
            let node = match (step.whom, &written, self.last) {
                (Whom::Same, _, Some((_, node))) => node,
                (Whom::Master, Some(_), _) => Node::Master,
                (Whom::Master, None, _) if least == 0 => Node::Master,
                (Whom::Writer, Some(_), _) => Node::Client(0),
                (Whom::Primary, Some((at, _)), _) => Node::Server(*at),
                (Whom::Secondary(nth), Some((_, members)), _) => {
                    let number = members.get(1 + nth).copied().unwrap_or_default();
                    match servers.iter().position(|s| s.disk.server == number) {
                        Some(at) => Node::Server(at),
                        None => break,
                    }
                }
                _ => break,
            };
            due.push(match step.deed {
                Deed::Kill => Fault::Kill(node, Process::Killed),
                Deed::Start => Fault::Start(node),
                Deed::Pause => Fault::Pause(node),
                Deed::Resume => Fault::Resume(node),
            });
            self.last = Some((now, node));
            self.coming.pop();
        }
        due
    }

    /// Whether all were done.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.coming.is_empty()
    }
}
