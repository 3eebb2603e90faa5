//! Three replicas, a few writers and a master in miniature, wired by queues that a seeded scheduler
//! empties in any order; streams break, servers die, disks fail. What must hold is checked as it
//! happens and at the end. A byte of a payload stands for a block of the chunk.

use super::cluster_disk::{Disk, store};
use super::*;
use std::collections::BTreeSet;

pub(super) const SERVERS: usize = 3;
pub(super) const MUTATIONS: u64 = 12;

/// splitmix64: a seed reproduces a run exactly.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

pub(super) struct Node {
    pub(super) replica: Replica<Payload>,
    pub(super) disk: Disk,
    pub(super) op: Option<DiskOp<Payload>>,
    /// Where it copies from.
    pub(super) source: usize,
    pub(super) inbox: VecDeque<Event<Payload>>,
    pub(super) commands: VecDeque<(CommandId, Body)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Above {
    Writer(usize),
    Node(usize, StreamId),
}

pub(super) enum Down {
    Push(PushBody, Option<Payload>),
    End,
}

pub(super) enum Up {
    Reply(ReplyBody),
    End,
}

/// A stream between a sender and a node.
pub(super) struct Link {
    pub(super) above: Above,
    pub(super) node: usize,
    pub(super) stream: StreamId,
    pub(super) down: VecDeque<Down>,
    pub(super) up: VecDeque<Up>,
    /// Each side heard the end of the other.
    pub(super) ended: (bool, bool),
}

/// What a writer does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manner {
    /// Writes where it was planned to, behind what others write.
    Sequential,
    Append,
    /// Writes anywhere below the end, and across it.
    Overwrite,
}

pub(super) struct Writer {
    pub(super) manner: Manner,
    /// Where each mutation goes, in blocks, and its bytes. Of one that is appended: where it went,
    /// once that was said.
    pub(super) mutations: Vec<(Option<u32>, Payload)>,
    pub(super) acknowledged: u64,
    /// The first that is not sent, and the first that never was.
    pub(super) next: u64,
    pub(super) fresh: u64,
    /// The chunk takes no more of it.
    pub(super) done: bool,
    /// It asked for what can never be.
    pub(super) gave_up: bool,
    /// Flushes asked for on the stream, with the last mutation that each covers.
    pub(super) flushes: VecDeque<(u64, u64)>,
    pub(super) flush_token: u64,
    pub(super) link: Option<usize>,
    pub(super) opened: bool,
    /// Of its last stream.
    pub(super) version: u64,
    /// Waits for a version above this one.
    pub(super) stale: Option<u64>,
}

pub(super) enum Change {
    Prepare,
    Equalize,
}

pub(super) struct Master {
    pub(super) version: u64,
    pub(super) next: u64,
    pub(super) members: Vec<usize>,
    pub(super) change: Option<(Change, BTreeSet<CommandId>, Vec<usize>)>,
    pub(super) prepared: BTreeMap<usize, (u64, u64, Vec<u8>)>,
    pub(super) source: usize,
    /// As agreed.
    pub(super) length: u32,
    /// It was told that the chunk is finished.
    pub(super) sealed: bool,
    /// Who was a member, of each version.
    pub(super) history: BTreeMap<u64, Vec<usize>>,
}

pub(super) struct Cluster {
    pub(super) dice: Dice,
    pub(super) now: Millis,
    pub(super) nodes: Vec<Node>,
    pub(super) links: BTreeMap<usize, Link>,
    pub(super) writers: Vec<Writer>,
    pub(super) master: Master,
    pub(super) mistakes: Mistakes,
    pub(super) chunk_size: u32,
    /// A copy ended in the middle: a replica has bytes of mutations that it does not know of.
    pub(super) torn: bool,
    pub(super) ids: u64,
    pub(super) faults: bool,
}

pub(super) fn server(node: usize) -> u32 {
    node as u32 + 1
}

pub(super) type Checked = Result<(), String>;

impl Writer {
    fn is_over(&self) -> bool {
        self.done || self.gave_up || self.acknowledged == MUTATIONS
    }
}

/// Who writes what: two that fill the chunk together, or some that append and some that overwrite.
fn plan(dice: &mut Dice) -> Vec<Writer> {
    let manners = match dice.roll(4) {
        0 => vec![Manner::Sequential; 2],
        1 => vec![Manner::Append; 3],
        2 => vec![Manner::Append, Manner::Append, Manner::Overwrite],
        _ => vec![Manner::Append, Manner::Overwrite, Manner::Overwrite],
    };
    let mut writers: Vec<Writer> = manners
        .into_iter()
        .map(|manner| Writer {
            manner,
            mutations: Vec::new(),
            acknowledged: 0,
            next: 1,
            fresh: 1,
            done: false,
            gave_up: false,
            flushes: VecDeque::new(),
            flush_token: 0,
            link: None,
            opened: false,
            version: 0,
            stale: None,
        })
        .collect();
    let mut end = 0;
    while writers.iter().any(|writer| writer.mutations.len() < MUTATIONS as usize) {
        let w = dice.roll(writers.len());
        let (writer, name) = (&mut writers[w], w as u8 * 50);
        let bytes = vec![name + writer.mutations.len() as u8 + 1; 1 + dice.roll(5)];
        if writer.mutations.len() < MUTATIONS as usize {
            let place = (writer.manner == Manner::Sequential).then_some(end);
            end += bytes.len() as u32;
            writer.mutations.push((place, bytes));
        }
    }
    writers
}

impl Cluster {
    pub(super) fn new(seed: u64, mistakes: Mistakes) -> Self {
        let mut dice = Dice(seed);
        let writers = plan(&mut dice);
        // The smaller one is filled by those who append.
        let planned = writers.iter().any(|writer| writer.manner == Manner::Sequential);
        let chunk_size = BLOCK_SIZE * if planned || dice.roll(2) == 0 { 256 } else { 64 };
        let nodes = (0..SERVERS)
            .map(|node| Node {
                replica: Replica::absent(
                    Settings { mistakes, chunk_size, ..settings(server(node)) },
                    5,
                ),
                disk: Disk::default(),
                op: None,
                source: 0,
                inbox: VecDeque::new(),
                commands: VecDeque::new(),
            })
            .collect();
        let master = Master {
            version: 1,
            next: 1,
            members: vec![0, 1, 2],
            change: None,
            prepared: BTreeMap::new(),
            source: 0,
            length: 0,
            sealed: false,
            history: BTreeMap::from([(1, vec![0, 1, 2])]),
        };
        let mut cluster = Self {
            dice,
            now: Millis(1),
            nodes,
            links: BTreeMap::new(),
            writers,
            master,
            mistakes,
            chunk_size,
            torn: false,
            ids: 0,
            faults: true,
        };
        cluster.grant_all();
        cluster
    }

    /// Runs to the end; an error says which promise was broken.
    pub(super) fn run(mut self) -> Checked {
        for round in 0..60_000 {
            self.faults = round < 3_000;
            self.now = self.now + Millis(self.dice.roll(12) as u64);
            self.round()?;
            if self.writers.iter().all(Writer::is_over) && round > 500 {
                return self.settle();
            }
        }
        let progress: Vec<_> = self.writers.iter().map(|w| w.acknowledged).collect();
        Err(format!("no end: acknowledged {progress:?} of {MUTATIONS}\n{}", self.describe()))
    }

    /// A last version change, undisturbed, and the state after it.
    fn settle(&mut self) -> Checked {
        self.faults = false;
        let before = self.master.version;
        self.master.change = None;
        self.start_change();
        for _ in 0..20_000 {
            self.now = self.now + Millis(5);
            self.round()?;
            let granted = |n: &usize| {
                let header = self.nodes[*n].replica.header();
                header.is_some_and(|h| h.complete == self.master.version)
            };
            if self.master.version > before
                && self.master.change.is_none()
                && self.master.members.iter().all(granted)
            {
                return self.check_members();
            }
        }
        Err(format!("the last version change did not end\n{}", self.describe()))
    }

    fn round(&mut self) -> Checked {
        match self.dice.roll(20) {
            0 if self.faults && self.dice.roll(12) == 0 => self.fault()?,
            0..=3 => self.write(),
            4..=7 => self.finish_disk()?,
            8 => self.read()?,
            9..=10 => self.deliver_command()?,
            11 => self.deliver_inbox()?,
            12 if self.dice.roll(4) == 0 => {
                for node in 0..SERVERS {
                    self.step(node, Event::Tick)?;
                }
                self.watch();
            }
            _ => self.deliver()?,
        }
        Ok(())
    }

    /// Something breaks.
    fn fault(&mut self) -> Checked {
        match self.dice.roll(4) {
            0 => self.restart(),
            1 => {
                let node = self.dice.roll(SERVERS);
                if self.nodes[node].op.take().is_some() {
                    self.step(node, Event::DiskDone { result: Err(disk_error()) })?;
                }
            }
            _ => {
                let links: Vec<_> = self.links.keys().copied().collect();
                if !links.is_empty() {
                    let link = links[self.dice.roll(links.len())];
                    if let Some(link) = self.links.get_mut(&link) {
                        link.down = VecDeque::from([Down::End]);
                        link.up = VecDeque::from([Up::End]);
                    }
                }
            }
        }
        Ok(())
    }

    /// A server is killed and comes back with what was written.
    fn restart(&mut self) {
        let n = self.dice.roll(SERVERS);
        if let Some(op) = self.nodes[n].op.take()
            && self.dice.roll(2) == 0
        {
            store(&mut self.nodes[n].disk, op);
        }
        let (mistakes, chunk_size) = (self.mistakes, self.chunk_size);
        let config = Settings { mistakes, chunk_size, ..settings(server(n)) };
        let node = &mut self.nodes[n];
        node.replica = match node.disk.stored.clone() {
            Some((identity, header)) => Replica::load(config, identity, header),
            None => Replica::absent(config, 5),
        };
        self.torn |= node.disk.copied.is_some();
        node.inbox.clear();
        node.commands.clear();
        for link in self.links.values_mut() {
            if link.node == n {
                link.down = VecDeque::new();
                link.up.push_back(Up::End);
            }
            if matches!(link.above, Above::Node(above, _) if above == n) {
                link.up = VecDeque::new();
                link.down.push_back(Down::End);
            }
        }
        if self.master.change.is_some() {
            self.start_change();
        } else if self.master.version == 1 && self.nodes[n].disk.stored.is_none() {
            // It may have died before its first grant was carried out.
            let grant = self.grant(1);
            let id = self.id();
            self.nodes[n].commands.push_back((CommandId(id), Body::Grant(grant)));
        }
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    // Queues.

    fn deliver(&mut self) -> Checked {
        let waiting = |(id, link): (&usize, &Link)| {
            let up = (!link.up.is_empty()).then_some((*id, true));
            up.into_iter().chain((!link.down.is_empty()).then_some((*id, false)))
        };
        let queues: Vec<(usize, bool)> = self.links.iter().flat_map(waiting).collect();
        if queues.is_empty() {
            return Ok(());
        }
        let (id, upwards) = queues[self.dice.roll(queues.len())];
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let (above, node, stream) = (link.above, link.node, link.stream);
        if upwards {
            let Some(up) = link.up.pop_front() else { return Ok(()) };
            let end = matches!(up, Up::End);
            link.ended.0 |= end;
            match above {
                Above::Writer(w) => {
                    if self.writers[w].link == Some(id) {
                        let over = |body: &ReplyBody| {
                            matches!(body, ReplyBody::Failed(_) | ReplyBody::Finished(_))
                        };
                        let failed = matches!(&up, Up::Reply(body) if over(body));
                        self.writer_hears(w, up)?;
                        if failed || end {
                            self.hang_up(id);
                        }
                    }
                }
                Above::Node(n, stream) => {
                    let event = match up {
                        Up::Reply(body) => Event::Down { stream, body },
                        Up::End => Event::DownBroken { stream, why: "broken".to_owned() },
                    };
                    self.step(n, event)?;
                }
            }
        } else {
            let down = link.down.pop_front();
            link.ended.1 |= matches!(down, Some(Down::End));
            match down {
                Some(Down::Push(body, payload)) => {
                    let credit = 40 * BLOCK_SIZE;
                    self.step(node, Event::Push { stream, body, payload, credit })?;
                }
                Some(Down::End) => self.step(node, Event::Closed { stream })?,
                None => {}
            }
        }
        self.links.retain(|_, link| link.ended != (true, true));
        Ok(())
    }

    pub(super) fn hang_up(&mut self, id: usize) {
        if let Some(link) = self.links.get_mut(&id) {
            link.down.push_back(Down::End);
        }
    }

    fn deliver_command(&mut self) -> Checked {
        let n = self.dice.roll(SERVERS);
        match self.nodes[n].commands.pop_front() {
            Some((id, body)) => self.step(n, Event::Command { id, body }),
            None => Ok(()),
        }
    }

    fn deliver_inbox(&mut self) -> Checked {
        let n = self.dice.roll(SERVERS);
        match self.nodes[n].inbox.pop_front() {
            Some(event) => self.step(n, event),
            None => Ok(()),
        }
    }

    fn finish_disk(&mut self) -> Checked {
        let n = self.dice.roll(SERVERS);
        let Some(op) = self.nodes[n].op.take() else { return Ok(()) };
        store(&mut self.nodes[n].disk, op);
        self.step(n, Event::DiskDone { result: Ok(()) })
    }

    pub(super) fn step(&mut self, n: usize, event: Event<Payload>) -> Checked {
        let mut out = Vec::new();
        self.nodes[n].replica.step(self.now, event, &mut out);
        for output in out {
            match output {
                Output::Reply { stream, body } => {
                    self.check_reply(n, stream, &body)?;
                    if let Some(link) = self.receiver(n, stream) {
                        link.up.push_back(Up::Reply(body));
                    }
                }
                Output::Dial { stream, next, open } => {
                    let body = PushBody::Open(*open);
                    self.link(Above::Node(n, stream), next.server as usize - 1, body);
                }
                Output::SendDown { stream, body, payload } => {
                    let above = Above::Node(n, stream);
                    if let Some(link) = self.links.values_mut().find(|link| link.above == above) {
                        link.down.push_back(Down::Push(body, payload));
                    }
                }
                Output::Close { stream } => {
                    if let Some(link) = self.receiver(n, stream) {
                        link.up.push_back(Up::End);
                    }
                    let above = Above::Node(n, stream);
                    if let Some(link) = self.links.values_mut().find(|link| link.above == above) {
                        link.down.push_back(Down::End);
                    }
                }
                Output::Disk(op) => {
                    if self.nodes[n].op.replace(op).is_some() {
                        return Err("two disk operations at once".to_owned());
                    }
                }
                Output::PlanCopy { id, copy } => {
                    let source = match copy {
                        Copy::Equalize(_) => self.master.source,
                        Copy::Clone(_) => self.master.members[0],
                    };
                    self.nodes[n].source = source;
                    let header = self.nodes[source].replica.header();
                    let source_complete = header.map_or(0, |header| header.complete);
                    self.nodes[n].inbox.push_back(Event::CopyPlanned { id, source_complete });
                }
                Output::GoCopy { id } => {
                    let source = self.nodes[self.nodes[n].source].disk.clone();
                    let (_, header) = source.stored.unwrap_or_default();
                    let outcome = CopyOutcome {
                        length: header.length,
                        tail: 0,
                        serial: header.serial,
                        window: header.window,
                    };
                    // The bytes change at once, what is known of them only at the end.
                    self.nodes[n].disk.bytes = source.bytes;
                    self.nodes[n].disk.copied = Some(source.log);
                    self.nodes[n].inbox.push_back(Event::CopyEnded { id, result: Ok(outcome) });
                }
                Output::AbortCopy { id } => {
                    self.torn |= self.nodes[n].disk.copied.is_some();
                    self.nodes[n].inbox.retain(|event| {
                        !matches!(event, Event::CopyEnded { .. } | Event::CopyPlanned { .. })
                    });
                    let error = failure(ErrorCode::Cancelled, "aborted");
                    self.nodes[n].inbox.push_back(Event::CopyEnded { id, result: Err(error) });
                }
                Output::CommandDone { id, result, .. } => self.command_done(n, id, result),
                Output::PrimaryEnded { .. } | Output::WriterVanished { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn receiver(&mut self, n: usize, stream: StreamId) -> Option<&mut Link> {
        self.links.values_mut().find(|link| link.node == n && link.stream == stream)
    }

    fn describe(&self) -> String {
        let Master { version, next, members, change, .. } = &self.master;
        let changing = change.is_some();
        let mut text = format!("master {version} {next} {members:?} changing {changing}\n");
        for w in &self.writers {
            let at = (w.acknowledged, w.next, w.link, w.opened, w.version, w.stale, w.done);
            text += &format!("writer {:?} {at:?}\n", w.manner);
        }
        for node in &self.nodes {
            let role = node.replica.role.as_ref().map(|role| (role.version, role.is_primary()));
            let header =
                node.replica.header().map(|h| (h.promised, h.complete, h.serial, h.length));
            let busy = (&node.op, &node.replica.commands, node.commands.len());
            text += &format!("node {header:?} {role:?} {busy:?} {:?}\n", node.replica.streams);
        }
        text
    }
}
