//! Three replicas, two writers and a master in miniature, wired by queues that a seeded scheduler
//! empties in any order; streams break, servers die, disks fail. What must hold is checked as it
//! happens and at the end.

use super::*;
use std::collections::BTreeSet;

pub(super) const SERVERS: usize = 3;
const SLICES: u64 = 12;

/// splitmix64: a seed reproduces a run exactly.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// What is on a server's disk.
#[derive(Clone, Default)]
struct Disk {
    stored: Option<(Identity, Header)>,
    bytes: Vec<u8>,
    /// (writer, sequence) in the order applied.
    log: Vec<(u64, u64)>,
    /// The log of what is being copied.
    copied: Vec<(u64, u64)>,
}

struct Node {
    replica: Replica<Payload>,
    disk: Disk,
    op: Option<DiskOp<Payload>>,
    /// Where it copies from.
    source: usize,
    inbox: VecDeque<Event<Payload>>,
    commands: VecDeque<(CommandId, Body)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Above {
    Writer(usize),
    Node(usize, StreamId),
}

enum Down {
    Push(PushBody, Option<Payload>),
    End,
}

enum Up {
    Reply(ReplyBody),
    End,
}

/// A stream between a sender and a node.
struct Link {
    above: Above,
    node: usize,
    stream: StreamId,
    down: VecDeque<Down>,
    up: VecDeque<Up>,
    /// Each side heard the end of the other.
    ended: (bool, bool),
}

struct Writer {
    slices: Vec<(u32, Payload)>,
    acknowledged: u64,
    next: u64,
    link: Option<usize>,
    opened: bool,
    /// Of its last stream.
    version: u64,
    /// Waits for a version above this one.
    stale: Option<u64>,
}

enum Change {
    Prepare,
    Equalize,
}

struct Master {
    version: u64,
    next: u64,
    members: Vec<usize>,
    change: Option<(Change, BTreeSet<CommandId>, Vec<usize>)>,
    prepared: BTreeMap<usize, (u64, u64, Vec<u8>)>,
    source: usize,
    /// As agreed.
    length: u32,
}

pub(super) struct Cluster {
    dice: Dice,
    now: Millis,
    nodes: Vec<Node>,
    links: BTreeMap<usize, Link>,
    writers: Vec<Writer>,
    master: Master,
    mistakes: Mistakes,
    ids: u64,
    faults: bool,
}

fn server(node: usize) -> u32 {
    node as u32 + 1
}

type Checked = Result<(), String>;

impl Cluster {
    pub(super) fn new(seed: u64, mistakes: Mistakes) -> Self {
        let mut dice = Dice(seed);
        let mut writers: Vec<Writer> = (0..2)
            .map(|_| Writer {
                slices: Vec::new(),
                acknowledged: 0,
                next: 1,
                link: None,
                opened: false,
                version: 0,
                stale: None,
            })
            .collect();
        let mut offset = 0;
        while writers.iter().any(|writer| writer.slices.len() < SLICES as usize) {
            let w = dice.roll(2);
            let sequence = writers[w].slices.len();
            let bytes = vec![(w * 100 + sequence + 1) as u8; 1 + dice.roll(5)];
            if sequence < SLICES as usize {
                let length = bytes.len() as u32;
                writers[w].slices.push((offset, bytes));
                offset += length;
            }
        }
        let nodes = (0..SERVERS)
            .map(|node| Node {
                replica: Replica::absent(Settings { mistakes, ..settings(server(node)) }, 5),
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
        };
        let mut cluster = Self {
            dice,
            now: Millis(1),
            nodes,
            links: BTreeMap::new(),
            writers,
            master,
            mistakes,
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
            if self.writers.iter().all(|w| w.acknowledged == SLICES) && round > 500 {
                return self.settle();
            }
        }
        let progress: Vec<_> = self.writers.iter().map(|w| w.acknowledged).collect();
        Err(format!("no end: acknowledged {progress:?} of {SLICES}\n{}", self.describe()))
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
            4..=8 => self.finish_disk()?,
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
        let config = Settings { mistakes: self.mistakes, ..settings(server(n)) };
        let node = &mut self.nodes[n];
        node.replica = match node.disk.stored.clone() {
            Some((identity, header)) => Replica::load(config, identity, header),
            None => Replica::absent(config, 5),
        };
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

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    // The master.

    fn grant(&self, length: u32) -> pb::Grant {
        let servers: Vec<u32> = self.master.members.iter().map(|n| server(*n)).collect();
        grant(self.master.version, &servers, if self.master.version == 1 { 0 } else { length })
    }

    fn grant_all(&mut self) {
        let grant = self.grant(self.master.length);
        for n in self.master.members.clone() {
            let id = self.id();
            let lease = self.master.members[0] == n;
            let body = Body::Grant(pb::Grant { lease, ..grant.clone() });
            self.nodes[n].commands.push_back((CommandId(id), body));
        }
    }

    fn start_change(&mut self) {
        // The members of a committed version are equal, and stay so until they are prepared for
        // another: that waits until one at least heard of the commit.
        let complete = |n: &Node| n.replica.header().map_or(0, |header| header.complete);
        if self.nodes.iter().all(|n| complete(n) < self.master.version) {
            self.master.change = None;
            return self.grant_all();
        }
        let master = &mut self.master;
        master.next = master.next.max(master.version) + 1;
        master.prepared.clear();
        let stored = |n: &usize| self.nodes[*n].disk.stored.is_some();
        let (mut chosen, absent): (Vec<usize>, Vec<usize>) = (0..SERVERS).partition(stored);
        for n in absent {
            // Filled beside the writes; a later change includes it.
            let id = CommandId(self.id());
            self.nodes[n].commands.push_back((id, Body::Clone(pb::Clone::default())));
        }
        if chosen.len() > 1 && self.faults && self.dice.roll(3) == 0 {
            let left_out = self.dice.roll(chosen.len());
            chosen.remove(left_out);
        }
        let turn = self.dice.roll(chosen.len());
        chosen.rotate_left(turn);
        let mut waiting = BTreeSet::new();
        for n in &chosen {
            let id = CommandId(self.id());
            waiting.insert(id);
            let prepare =
                pb::Prepare { version: self.master.version, next: self.master.next, cut: None };
            self.nodes[*n].commands.push_back((id, Body::Prepare(prepare)));
        }
        self.master.change = Some((Change::Prepare, waiting, chosen));
    }

    fn command_done(&mut self, n: usize, id: CommandId, result: Result<(), pb::ErrorDetail>) {
        let Some((_, waiting, _)) = &mut self.master.change else { return };
        if !waiting.remove(&id) {
            return;
        }
        if result.is_err() {
            return self.start_change();
        }
        let header = self.nodes[n].replica.header().cloned().unwrap_or_default();
        let disk = &self.nodes[n].disk;
        let mut content = disk.bytes.clone();
        content.resize(header.length as usize, 0);
        let said = (header.complete, header.serial, content);
        self.master.prepared.insert(n, said);
        self.advance_change();
    }

    fn advance_change(&mut self) {
        let Some((change, waiting, chosen)) = &self.master.change else { return };
        if !waiting.is_empty() {
            return;
        }
        let (preparing, chosen) = (matches!(change, Change::Prepare), chosen.clone());
        if preparing {
            let best = chosen
                .iter()
                .filter(|n| self.master.prepared[n].0 >= self.master.version)
                .max_by_key(|n| (self.master.prepared[n].0, self.master.prepared[n].1));
            let Some(best) = best.copied() else { return self.start_change() };
            self.master.source = best;
            let mut waiting = BTreeSet::new();
            for n in &chosen {
                if self.master.prepared[n].2 != self.master.prepared[&best].2 {
                    let id = CommandId(self.id());
                    waiting.insert(id);
                    let body = pb::Equalize { next: self.master.next, ..Default::default() };
                    self.nodes[*n].commands.push_back((id, Body::Equalize(body)));
                }
            }
            self.master.change = Some((Change::Equalize, waiting, chosen));
            return self.advance_change();
        }
        self.master.version = self.master.next;
        self.master.length = self.master.prepared[&self.master.source].2.len() as u32;
        self.master.members = chosen;
        self.master.change = None;
        self.grant_all();
    }

    /// A writer that waits has the version changed; a change that hangs is started again.
    fn watch(&mut self) {
        let wanted = self.writers.iter().any(|w| w.stale == Some(self.master.version));
        let hangs = self.master.change.is_some() && self.dice.roll(40) == 0;
        if (wanted && self.master.change.is_none()) || hangs {
            self.start_change();
        }
    }

    // The writers.

    fn write(&mut self) {
        let w = self.dice.roll(self.writers.len());
        let version = self.master.version;
        let writer = &mut self.writers[w];
        if writer.stale.is_some_and(|stale| stale >= version) {
            return;
        }
        writer.stale = None;
        let Some(link) = writer.link.and_then(|link| self.links.get_mut(&link)) else {
            return self.open(w);
        };
        let flying = writer.next.saturating_sub(writer.acknowledged);
        if writer.opened && writer.next <= SLICES && flying < 5 {
            let (offset, bytes) = &writer.slices[writer.next as usize - 1];
            let (body, payload) = slice(writer.next, *offset, bytes);
            link.down.push_back(Down::Push(body, Some(payload)));
            // Sometimes the same again.
            if self.dice.roll(6) == 0 {
                let (body, payload) = slice(writer.next, *offset, bytes);
                link.down.push_back(Down::Push(body, Some(payload)));
            }
            writer.next += 1;
        }
    }

    fn open(&mut self, w: usize) {
        let mut chain: Vec<u32> = self.master.members.iter().map(|n| server(*n)).collect();
        let primary = chain.remove(0) as usize - 1;
        if self.dice.roll(2) == 0 {
            chain.reverse();
        }
        let body = open(self.master.version, w as u64 + 1, 0, &chain);
        let link = self.link(Above::Writer(w), primary, body);
        self.writers[w].link = Some(link);
        self.writers[w].opened = false;
        self.writers[w].version = self.master.version;
    }

    fn link(&mut self, above: Above, node: usize, body: PushBody) -> usize {
        let id = self.id();
        let down = VecDeque::from([Down::Push(body, None)]);
        let link = Link {
            above,
            node,
            stream: StreamId(id),
            down,
            up: VecDeque::new(),
            ended: (false, false),
        };
        self.links.insert(id as usize, link);
        id as usize
    }

    fn writer_hears(&mut self, w: usize, up: Up) -> Checked {
        let again = self.dice.roll(4);
        let writer = &mut self.writers[w];
        let version = writer.version;
        match up {
            Up::Reply(ReplyBody::Opened(opened)) => {
                if opened.sequence < writer.acknowledged {
                    return Err(format!(
                        "writer {w}: {} acknowledged, {opened:?}",
                        writer.acknowledged
                    ));
                }
                writer.opened = true;
                // Also what is acknowledged is pushed again at times.
                writer.next = (writer.acknowledged + 1).saturating_sub(again as u64).max(1);
            }
            Up::Reply(ReplyBody::Acknowledged(ack)) => {
                writer.acknowledged = writer.acknowledged.max(ack.through);
            }
            Up::Reply(ReplyBody::Failed(failed)) => {
                writer.link = None;
                let code = failed.error.unwrap_or_default().error_code();
                if code == ErrorCode::Conflict {
                    return Err(format!("writer {w}: a repeat was taken for another slice"));
                }
                if !matches!(code, ErrorCode::WrongOffset | ErrorCode::Cancelled) {
                    writer.stale = Some(version);
                }
            }
            Up::End => {
                writer.link = None;
                writer.stale = (again > 0).then_some(version);
            }
            Up::Reply(_) => {}
        }
        Ok(())
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
                        let failed = matches!(up, Up::Reply(ReplyBody::Failed(_)));
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
                    self.step(node, Event::Push { stream, body, payload, credit: 40 })?;
                }
                Some(Down::End) => self.step(node, Event::Closed { stream })?,
                None => {}
            }
        }
        self.links.retain(|_, link| link.ended != (true, true));
        Ok(())
    }

    fn hang_up(&mut self, id: usize) {
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

    fn step(&mut self, n: usize, event: Event<Payload>) -> Checked {
        let mut out = Vec::new();
        self.nodes[n].replica.step(self.now, event, &mut out);
        for output in out {
            match output {
                Output::Reply { stream, body } => {
                    if let ReplyBody::Acknowledged(ack) = &body {
                        self.check_acknowledged(n, stream, ack)?;
                    }
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
                    self.nodes[n].disk.copied = source.log;
                    self.nodes[n].inbox.push_back(Event::CopyEnded { id, result: Ok(outcome) });
                }
                Output::AbortCopy { id } => {
                    self.nodes[n].inbox.retain(|event| {
                        !matches!(event, Event::CopyEnded { .. } | Event::CopyPlanned { .. })
                    });
                    let error = failure(ErrorCode::Cancelled, "aborted");
                    self.nodes[n].inbox.push_back(Event::CopyEnded { id, result: Err(error) });
                }
                Output::CommandDone { id, result, .. } => self.command_done(n, id, result),
                Output::Unreachable { .. } => {}
            }
        }
        Ok(())
    }

    fn receiver(&mut self, n: usize, stream: StreamId) -> Option<&mut Link> {
        self.links.values_mut().find(|link| link.node == n && link.stream == stream)
    }

    fn describe(&self) -> String {
        let Master { version, next, members, change, .. } = &self.master;
        let changing = change.is_some();
        let mut text = format!("master {version} {next} {members:?} changing {changing}\n");
        for w in &self.writers {
            let at = (w.acknowledged, w.next, w.link, w.opened, w.version, w.stale);
            text += &format!("writer {at:?}\n");
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

    // What must hold.

    /// What is acknowledged is on the disk of every member of that version.
    fn check_acknowledged(&self, n: usize, stream: StreamId, ack: &pb::Acknowledged) -> Checked {
        let Some(link) = self.links.values().find(|l| l.node == n && l.stream == stream) else {
            return Ok(());
        };
        let Above::Writer(w) = link.above else { return Ok(()) };
        for member in &self.nodes[n].replica.members.1 {
            self.check_holds(member.server as usize - 1, w, ack.through)?;
        }
        Ok(())
    }

    fn check_holds(&self, n: usize, w: usize, through: u64) -> Checked {
        let disk = &self.nodes[n].disk;
        for (offset, bytes) in self.writers[w].slices.iter().take(through as usize) {
            let range = *offset as usize..*offset as usize + bytes.len();
            if disk.bytes.get(range) != Some(bytes) {
                return Err(format!(
                    "server {} lacks bytes at {offset} of writer {w}, acknowledged",
                    server(n)
                ));
            }
        }
        Ok(())
    }

    /// All members are equal, hold all that was acknowledged, and nothing twice.
    fn check_members(&self) -> Checked {
        let first = &self.nodes[self.master.members[0]].disk;
        for n in &self.master.members {
            let disk = &self.nodes[*n].disk;
            if disk.bytes != first.bytes || disk.log != first.log {
                return Err(format!("server {} differs", server(*n)));
            }
            for w in 0..self.writers.len() {
                self.check_holds(*n, w, self.writers[w].acknowledged)?;
            }
        }
        let once: BTreeSet<_> = first.log.iter().collect();
        if once.len() != first.log.len() {
            return Err(format!("applied twice: {:?}", first.log));
        }
        Ok(())
    }
}

/// What an operation does to a disk.
fn store(disk: &mut Disk, op: DiskOp<Payload>) {
    let op = match op {
        DiskOp::Create { identity, version } => {
            let header = Header { promised: version, complete: version, ..Header::default() };
            *disk = Disk { stored: Some((identity, header)), ..Disk::default() };
            return;
        }
        DiskOp::Delete => {
            *disk = Disk::default();
            return;
        }
        other => other,
    };
    let Some((_, header)) = &mut disk.stored else { return };
    match op {
        DiskOp::Write { serial, writer, slice, payload, .. } => {
            let (start, end) = (slice.offset as usize, slice.offset as usize + payload.len());
            // Past the length there may be what an aborted copy left.
            disk.bytes.truncate(header.length as usize);
            if disk.bytes.len() < end {
                disk.bytes.resize(end, 0);
            }
            disk.bytes[start..end].copy_from_slice(&payload);
            disk.log.push((writer, slice.sequence));
            header.serial = serial;
            header.length = disk.bytes.len() as u32;
            header.window.push(pb::WindowEntry {
                writer,
                sequence: slice.sequence,
                offset: slice.offset,
                length: slice.length,
            });
        }
        DiskOp::Promise { next } => header.promised = next,
        DiskOp::Complete { version, sealed } => {
            header.complete = version;
            header.serial = 0;
            header.sealed = sealed;
        }
        DiskOp::Seal => header.sealed = true,
        DiskOp::Demote => header.complete = 0,
        DiskOp::Become(outcome) => {
            header.length = outcome.length;
            header.serial = outcome.serial;
            header.window = outcome.window;
            disk.bytes.truncate(outcome.length as usize);
            disk.log = std::mem::take(&mut disk.copied);
        }
        DiskOp::Create { .. } | DiskOp::Delete => {}
    }
}
