//! The world of a run: processes on a network, and what is done to them.

use crate::checkers;
use crate::client::{Client, Habits, Part};
use crate::clock::Time;
use crate::context::{Context, Happening, Process};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::master::{Master, StoreManners};
use crate::network::{Arrival, Node, StreamId, Weather};
use crate::scenario::Scenario;
use crate::server::{DiskManners, Server};
use crate::steps::Steps;
use gfs_core::brain::BrainConfig;
use gfs_core::mistakes::Mistakes;
use gfs_core::{reader, writer};
use gfs_types::{BLOCK_SIZE, ClusterId, Geometry, Millis};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What waits for a process that is stopped.
enum Backlog {
    Arrived(StreamId, Arrival),
    Timer(u32, crate::context::Timer),
}

/// The world.
pub struct World {
    /// What all share.
    pub ctx: Context,
    /// The master.
    pub master: Master,
    /// The chunkservers.
    pub servers: Vec<Server>,
    /// The clients; the last one verifies.
    pub clients: Vec<Client>,
    /// The plan.
    pub scenario: Scenario,
    mistakes: Mistakes,
    steps: Steps,
    backlog: BTreeMap<Node, VecDeque<Backlog>>,
    /// Servers that are gone for good.
    pub lost: Vec<usize>,
    power_was_lost: bool,
    /// Chunks of which a loss of power may have taken something from all copies.
    pub doubtful: BTreeSet<u64>,
    /// Servers that are to be emptied.
    drained: Vec<usize>,
    /// Events so far.
    pub events: u64,
}

impl World {
    /// A world at its first moment.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario, mistakes: Mistakes, keep_log: bool) -> Self {
        let geometry = Geometry::new(u64::from(scenario.chunk_size)).unwrap_or_default();
        let config = BrainConfig {
            fresh_cluster_id: ClusterId(0x00c1_0000 + u128::from(seed)),
            geometry,
            default_copies: scenario.copies,
            master_addresses: vec!["master:1".to_owned()],
            mistakes,
            // Half of the clusters have a trash, from which things go in the course of the run.
            trash_period: Some(Millis(if seed.is_multiple_of(2) { 3_000 } else { 0 })),
            ..BrainConfig::default()
        };
        let mut world = Self {
            ctx: Context::new(seed, keep_log),
            master: Master::new(config),
            servers: (0..scenario.servers)
                .map(|index| Server::new(index, scenario.chunk_size, mistakes))
                .collect(),
            clients: Vec::new(),
            steps: Steps::new(scenario.steps.clone()),
            scenario,
            mistakes,
            backlog: BTreeMap::new(),
            lost: Vec::new(),
            power_was_lost: false,
            doubtful: BTreeSet::new(),
            drained: Vec::new(),
            events: 0,
        };
        for index in 0..world.scenario.all_clients() {
            let client = world.new_client(index, seed);
            world.clients.push(client);
        }
        world.master.start(&mut world.ctx);
        for server in &mut world.servers {
            server.start(&mut world.ctx);
        }
        for client in &mut world.clients {
            client.start(&mut world.ctx);
        }
        for (number, (at, _)) in world.scenario.faults.iter().enumerate() {
            world.ctx.queue.add(*at, Happening::Fault(number));
        }
        world.ctx.queue.add(Time::of_millis(1), Happening::Look);
        world
    }

    fn new_client(&self, index: usize, seed: u64) -> Client {
        let write = writer::Config {
            chunk_size: self.scenario.chunk_size,
            max_slice: self.scenario.max_slice,
            window: 512 * 1024,
            mistakes: self.mistakes,
            ..writer::Config::default()
        };
        let read = reader::Config { mistakes: self.mistakes, ..reader::Config::default() };
        let write = match self.scenario.part(index) {
            // Parts of a record are whole blocks.
            Part::Appends => {
                writer::Config { max_slice: write.max_slice.next_multiple_of(BLOCK_SIZE), ..write }
            }
            _ => write,
        };
        let habits = Habits { part: self.scenario.part(index), ..self.scenario.habits };
        Client::new(index, Dice::new(seed, 100 + index as u64), habits, write, read)
    }

    /// Goes on until `done` or the time.
    fn run_until(&mut self, limit: Time, done: impl Fn(&Self) -> bool) -> bool {
        let mut next_look = self.ctx.now;
        loop {
            if self.ctx.now >= next_look {
                if done(self) {
                    return true;
                }
                next_look = self.ctx.now.plus(100_000);
            }
            let Some((at, happening)) = self.ctx.queue.pop() else { return done(self) };
            self.ctx.now = at;
            self.events += 1;
            self.happen(happening);
            if at >= limit {
                return done(self);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Delivery(stream, end) => {
                if let Some((node, arrival)) = self.ctx.deliver(stream, end) {
                    self.arrived(node, stream, arrival);
                }
            }
            Happening::Timer(node, life, timer) => match self.ctx.process(node) {
                (current, Process::Up) if current == life => self.timer(node, timer),
                (current, Process::Paused) if current == life => {
                    self.backlog.entry(node).or_default().push_back(Backlog::Timer(life, timer));
                }
                _ => {}
            },
            Happening::Fault(number) => {
                if let Some((_, fault)) = self.scenario.faults.get(number).copied() {
                    self.apply(fault);
                }
            }
            Happening::Look => {
                if self.ctx.now < self.scenario.calm_at {
                    for fault in self.steps.due(self.ctx.now, &self.servers) {
                        self.apply(fault);
                    }
                    self.ctx.queue.add(self.ctx.now.plus(500), Happening::Look);
                }
            }
        }
    }

    fn arrived(&mut self, node: Node, stream: StreamId, arrival: Arrival) {
        if self.ctx.process(node).1 == Process::Paused {
            self.backlog.entry(node).or_default().push_back(Backlog::Arrived(stream, arrival));
            return;
        }
        match &arrival {
            Arrival::Message(message) => {
                self.ctx
                    .log
                    .line(self.ctx.now, format_args!("{node} hears #{} {message}", stream.0));
            }
            Arrival::Closed | Arrival::Broken => {
                self.ctx
                    .log
                    .line(self.ctx.now, format_args!("{node} hears #{} {arrival:?}", stream.0));
            }
        }
        let ctx = &mut self.ctx;
        match node {
            Node::Master => self.master.arrived(ctx, stream, arrival),
            Node::Server(at) => {
                if let Some(server) = self.servers.get_mut(at) {
                    server.arrived(ctx, stream, arrival);
                }
            }
            Node::Client(at) => {
                if let Some(client) = self.clients.get_mut(at) {
                    client.arrived(ctx, stream, arrival);
                }
            }
        }
    }

    fn timer(&mut self, node: Node, timer: crate::context::Timer) {
        let ctx = &mut self.ctx;
        match node {
            Node::Master => self.master.timer(ctx, timer),
            Node::Server(at) => {
                if let Some(server) = self.servers.get_mut(at) {
                    server.timer(ctx, timer);
                }
            }
            Node::Client(at) => {
                if let Some(client) = self.clients.get_mut(at) {
                    client.timer(ctx, timer);
                }
            }
        }
    }

    /// Does something to the world.
    pub fn apply(&mut self, fault: Fault) {
        self.ctx.log.line(self.ctx.now, format_args!("FAULT {fault:?}"));
        match fault {
            Fault::Kill(node, how) => self.kill(node, how),
            Fault::Lose(at) => {
                self.kill(Node::Server(at), Process::Vanished);
                self.lost.push(at);
                if let Some(server) = self.servers.get_mut(at) {
                    server.disk = crate::disk::Disk::default();
                }
                if self.power_was_lost {
                    checkers::promise::recall(self);
                }
            }
            Fault::Power(at) => self.lose_power(&[at]),
            Fault::PowerOfAll => {
                self.kill(Node::Master, Process::Vanished);
                let all: Vec<usize> = (0..self.servers.len()).collect();
                self.lose_power(&all);
            }
            Fault::Start(node) => self.start(node),
            Fault::Pause(node) => {
                if self.ctx.is_up(node) {
                    self.ctx.set_paused(node, true);
                }
            }
            Fault::Resume(node) => self.resume(node),
            Fault::Block(from, to) => self.ctx.block(from, to, true),
            Fault::Clear(from, to) => self.ctx.block(from, to, false),
            Fault::Weather(weather) => self.ctx.network.weather = weather,
            Fault::Disk(at, manners) => {
                if let Some(server) = self.servers.get_mut(at) {
                    server.manners = manners;
                }
            }
            Fault::Store(manners) => self.master.manners = manners,
            Fault::Rot(at) => self.rot(at),
            Fault::Drain(at, drain) => self.drain(at, drain),
            Fault::Rebalance(stop) => {
                if self.ctx.process(Node::Master).1 == Process::Up {
                    self.master.rebalance(&mut self.ctx, stop);
                }
            }
        }
    }

    /// Power goes at these servers at once.
    fn lose_power(&mut self, servers: &[usize]) {
        self.power_was_lost = true;
        for at in servers {
            self.kill(Node::Server(*at), Process::Vanished);
            if let Some(server) = self.servers.get_mut(*at) {
                server.disk.lose_power(&mut self.ctx.dice);
            }
        }
        checkers::promise::recall(self);
    }

    fn kill(&mut self, node: Node, how: Process) {
        if !matches!(self.ctx.process(node).1, Process::Up | Process::Paused) {
            return;
        }
        self.backlog.remove(&node);
        let ctx = &mut self.ctx;
        match node {
            Node::Master => self.master.kill(ctx, how),
            Node::Server(at) => {
                if let Some(server) = self.servers.get_mut(at) {
                    server.kill(ctx, how);
                }
            }
            Node::Client(at) => {
                if let Some(client) = self.clients.get_mut(at) {
                    client.kill(ctx);
                }
            }
        }
    }

    fn start(&mut self, node: Node) {
        if matches!(self.ctx.process(node).1, Process::Up | Process::Paused) {
            return;
        }
        match node {
            Node::Master => self.master.start(&mut self.ctx),
            Node::Server(at) if !self.lost.contains(&at) => {
                if let Some(server) = self.servers.get_mut(at) {
                    server.start(&mut self.ctx);
                }
            }
            Node::Server(_) | Node::Client(_) => {}
        }
    }

    fn resume(&mut self, node: Node) {
        if self.ctx.process(node).1 != Process::Paused {
            return;
        }
        self.ctx.set_paused(node, false);
        for waited in self.backlog.remove(&node).unwrap_or_default() {
            match waited {
                Backlog::Arrived(stream, arrival) => self.arrived(node, stream, arrival),
                Backlog::Timer(life, timer) if self.ctx.process(node).0 == life => {
                    self.timer(node, timer);
                }
                Backlog::Timer(..) => {}
            }
        }
    }

    /// The master is asked to have a server emptied, if both are there to be asked.
    fn drain(&mut self, at: usize, drain: bool) {
        let number = self.servers.get(at).map_or(0, |server| server.disk.server);
        if number != 0 && self.ctx.process(Node::Master).1 == Process::Up {
            self.master.drain(&mut self.ctx, number, drain);
            self.drained.retain(|other| *other != at);
            if drain {
                self.drained.push(at);
            }
        }
    }

    /// Flips a bit, but never in what may be the last good copy.
    fn rot(&mut self, at: usize) {
        let Some(server) = self.servers.get(at) else { return };
        let handles: Vec<u64> = server.disk.chunks.keys().copied().collect();
        let Some(handle) = self.ctx.dice.pick(&handles).copied() else { return };
        let (files, _) = checkers::extents::of(&self.master.store);
        let records = files.values().flat_map(|file| file.extents.iter().chain(&file.spare));
        let Some(record) = records.into_iter().find(|record| record.handle == handle) else {
            return;
        };
        let version = checkers::extents::version(record);
        let sound = self
            .servers
            .iter()
            .filter(|server| record.members.contains(&server.disk.server))
            .filter(|server| checkers::promise::is_good(server, handle, version))
            .count();
        let Some(stored) = self.servers.get_mut(at).and_then(|s| s.disk.chunks.get_mut(&handle))
        else {
            return;
        };
        if sound > 2 && stored.header.length > 0 {
            let offset = self.ctx.dice.range(0, u64::from(stored.header.length)) as usize;
            stored.rot(offset);
        }
    }

    /// Puts everything right again that can be.
    fn calm(&mut self) {
        self.ctx.log.line(self.ctx.now, format_args!("CALM"));
        self.ctx.calm = Some(self.ctx.now);
        self.ctx.unblock_all();
        self.ctx.network.weather = Weather::default();
        self.master.manners = StoreManners::default();
        for server in &mut self.servers {
            server.manners = DiskManners::default();
        }
        let servers = (0..self.servers.len()).map(Node::Server);
        let clients = (0..self.clients.len()).map(Node::Client);
        for node in servers.chain(clients).chain([Node::Master]) {
            self.resume(node);
            // A server whose disk failed is looked after and started again.
            if let Node::Server(at) = node
                && self.servers.get(at).is_some_and(Server::is_failing)
            {
                self.kill(node, Process::Killed);
            }
            self.start(node);
        }
        // Servers can be emptied where enough others stay; the first ones stay drained.
        let spare = self.servers.len() - self.lost.len();
        let spare = spare.saturating_sub(self.scenario.copies.into());
        let drained = self.drained.iter().copied().filter(|at| !self.lost.contains(at));
        for at in drained.skip(spare).collect::<Vec<_>>() {
            self.drain(at, false);
        }
        // What the plan still has is taken back.
        self.scenario.faults.clear();
    }

    /// The whole run.
    pub fn run(&mut self, seed: u64) {
        self.run_until(self.scenario.calm_at, |_| false);
        self.calm();
        let clients_done = |world: &Self| world.clients.iter().all(Client::is_done);
        let limit = self.ctx.now.plus(180_000_000);
        if !self.run_until(limit, clients_done) {
            let stuck: Vec<String> = (self.clients.iter().enumerate())
                .filter(|(_, client)| !client.is_done())
                .map(|(at, client)| format!("client{at} is still at {}", client.occupation()))
                .collect();
            self.ctx.violation(format!("stuck: {}", stuck.join("; ")));
        }
        let limit = self.ctx.now.plus(180_000_000);
        let whole = self.run_until(limit, |world| checkers::goal::missing(world).is_empty());
        if !whole {
            for missing in checkers::goal::missing(self).into_iter().take(5) {
                self.ctx.violation(format!("180 s after the last fault: {missing}"));
            }
        }
        checkers::replicas::check(self, whole);
        checkers::acknowledged::check(self);
        self.verify(seed);
    }

    /// A new client reads every file from the first to the last byte, also those whose writer is
    /// gone without a word.
    fn verify(&mut self, seed: u64) {
        let mut client = self.new_client(self.clients.len(), seed);
        let files: Vec<u64> = self.ctx.ledger.certain().map(|(file, _)| file).collect();
        // A reader of what is lost hopes for as long as its deadline says.
        let lost = self.ctx.ledger.files.values().filter(|fact| fact.excused.is_some()).count();
        client.verify(&mut self.ctx, files);
        self.clients.push(client);
        let done = |world: &Self| world.clients.last().is_some_and(Client::is_done);
        let limit = self.ctx.now.plus(120_000_000 + 40_000_000 * lost as u64);
        if !self.run_until(limit, done) {
            self.ctx.violation("the verifying client does not come to an end".to_owned());
        }
    }
}
