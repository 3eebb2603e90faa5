//! From a seed to a run: how large the cluster, what the clients do, which kinds of faults are on
//! (each seed draws its own set, as a swarm does), and when they strike.

use crate::client::{Habits, Part};
use crate::clock::Time;
use crate::context::Process;
use crate::dice::Dice;
use crate::faults::Fault;
use crate::master::StoreManners;
use crate::network::{Node, Weather};
use crate::server::DiskManners;

/// A kind of moment at which something is done, for scenarios that wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A primary holds at least so many bytes of a chunk that is being written.
    Written(u32),
    /// So many microseconds after the moment before.
    After(u64),
}

/// Whom something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The primary of the chunk that is being written.
    Primary,
    /// A member of it that is not the primary: the first, the second.
    Secondary(usize),
    /// The one of the step before.
    Same,
    /// The master.
    Master,
    /// The first client, when something is being written.
    Writer,
}

/// Something done at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When.
    pub moment: Moment,
    /// To whom.
    pub whom: Whom,
    /// What.
    pub deed: Deed,
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says what it does")]
pub enum Deed {
    Kill,
    Start,
    Pause,
    Resume,
}

/// A run to be.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Chunkservers.
    pub servers: usize,
    /// Clients that write files of their own.
    pub clients: usize,
    /// Clients that append to files together.
    pub appenders: usize,
    /// Clients that overwrite files together.
    pub overwriters: usize,
    /// Bytes of a full chunk.
    pub chunk_size: u32,
    /// Largest slice.
    pub max_slice: u32,
    /// Whole copies wanted.
    pub copies: u8,
    /// What the clients do.
    pub habits: Habits,
    /// When what is done.
    pub faults: Vec<(Time, Fault)>,
    /// When all is put right again.
    pub calm_at: Time,
    /// Steps that wait for their moments.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// One client, no faults.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            servers: 4,
            clients: 1,
            chunk_size: 256 * 1024,
            max_slice: 64 * 1024,
            copies: 3,
            appenders: 0,
            overwriters: 0,
            habits: Habits {
                part: Part::Writes,
                rounds: 4,
                largest: 900_000,
                think: 2_000,
                rest: 1_000,
                appends: false,
                moves: false,
                cuts: false,
                disk: false,
            },
            faults: Vec::new(),
            calm_at: Time::of_millis(0),
            steps: Vec::new(),
        }
    }

    /// One client that writes a long file, and these steps.
    #[must_use]
    pub fn of_steps(steps: Vec<Step>) -> Self {
        let mut scenario = Self::quiet();
        scenario.habits.rounds = 6;
        scenario.habits.largest = 2_000_000;
        scenario.calm_at = Time::of_millis(20_000);
        scenario.steps = steps;
        scenario
    }

    /// Clients that append to files and overwrite them together, and these steps.
    #[must_use]
    pub fn of_many(steps: Vec<Step>) -> Self {
        let mut scenario = Self::of_steps(steps);
        scenario.clients = 0;
        scenario.appenders = 3;
        scenario.overwriters = 2;
        scenario.habits.disk = true;
        scenario
    }

    /// The run of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 10);
        let mut scenario = Self::quiet();
        scenario.servers = if dice.chance(800) { 4 } else { dice.range(3, 7) as usize };
        scenario.clients = if dice.chance(700) { 2 } else { dice.range(1, 4) as usize };
        scenario.chunk_size = 64 * 1024 * [1, 2, 4, 4][dice.index(4)];
        scenario.max_slice = [16 * 1024, 48 * 1024, 64 * 1024, 128 * 1024][dice.index(4)];
        scenario.copies = if dice.chance(850) { 3 } else { 2 };
        scenario.habits = Habits {
            rounds: dice.range(2, 10) as u32,
            largest: u64::from(scenario.chunk_size) * dice.range(1, 6),
            think: [0, 1_000, 50_000, 400_000][dice.index(4)],
            rest: [0, 1_000, 100_000, 1_000_000][dice.index(4)],
            appends: dice.chance(500),
            moves: dice.chance(500),
            ..scenario.habits
        };
        scenario.draw_others(seed);
        let length = dice.range(2_000, 20_000);
        scenario.calm_at = Time::of_millis(length);
        let (servers, clients) = (scenario.servers, scenario.all_clients());
        Swarm { dice, length, servers, clients, faults: vec![] }.draw(&mut scenario);
        // Dice of its own: what is drawn above stays as it was.
        let dice = Dice::new(seed, 11);
        let disasters = Swarm { dice, length, servers, clients, faults: vec![] };
        scenario.faults.extend(disasters.draw_disasters());
        scenario.faults.sort_by_key(|(at, _)| *at);
        drains(&mut scenario, seed, length);
        rebalances(&mut scenario, seed, length);
        scenario
    }

    /// Those who share files, and what else is done with files. Drawn apart: the rest of a seed is
    /// the same with it and without.
    fn draw_others(&mut self, seed: u64) {
        let mut dice = Dice::new(seed, 14);
        if dice.chance(500) {
            self.appenders = dice.range(1, 5) as usize;
            if dice.chance(200) {
                // Records of several slices.
                self.chunk_size = 12 * 64 * 1024;
            }
        }
        if dice.chance(400) {
            self.overwriters = dice.range(1, 4) as usize;
        }
        self.habits.cuts = dice.chance(400);
        self.habits.disk = dice.chance(400);
    }

    /// Clients of all kinds.
    #[must_use]
    pub const fn all_clients(&self) -> usize {
        self.clients + self.appenders + self.overwriters
    }

    /// What the client of this number is for.
    #[must_use]
    pub const fn part(&self, client: usize) -> Part {
        if client < self.clients {
            Part::Writes
        } else if client < self.clients + self.appenders {
            Part::Appends
        } else {
            Part::Overwrites
        }
    }
}

/// Servers are drained in some runs, and that is taken back in some of them. Drawn apart from the
/// faults: a seed's other faults are the same with it and without.
fn drains(scenario: &mut Scenario, seed: u64, length: u64) {
    let mut dice = Dice::new(seed, 13);
    if !dice.chance(150) {
        return;
    }
    for _ in 0..dice.range(1, 4) {
        let server = dice.index(scenario.servers);
        let at = Time(dice.range(100_000, length * 1000));
        scenario.faults.push((at, Fault::Drain(server, true)));
        if dice.chance(300) {
            let back = at.plus(dice.range(1_000, 3_000_000));
            scenario.faults.push((back, Fault::Drain(server, false)));
        }
    }
    scenario.faults.sort_by_key(|(at, _)| *at);
}

/// In some runs servers are made equally full, again and again. Drawn apart, too.
fn rebalances(scenario: &mut Scenario, seed: u64, length: u64) {
    let mut dice = Dice::new(seed, 12);
    if !dice.chance(250) {
        return;
    }
    for _ in 0..dice.range(1, 8) {
        let at = Time(dice.range(100_000, length * 1000));
        scenario.faults.push((at, Fault::Rebalance(dice.chance(100))));
    }
    scenario.faults.sort_by_key(|(at, _)| *at);
}

struct Swarm {
    dice: Dice,
    /// Milliseconds in which faults strike.
    length: u64,
    servers: usize,
    clients: usize,
    faults: Vec<(Time, Fault)>,
}

impl Swarm {
    fn draw(mut self, scenario: &mut Scenario) {
        self.weather();
        if self.dice.chance(400) {
            self.kills();
        }
        if self.dice.chance(250) {
            self.master_kills();
        }
        if self.dice.chance(300) {
            self.pauses();
        }
        if self.dice.chance(250) {
            self.partitions();
        }
        if self.dice.chance(250) {
            self.disks();
        }
        if self.dice.chance(100) && self.clients > 1 {
            let (client, at) = (self.dice.index(self.clients), self.moment());
            self.faults.push((at, Fault::Kill(Node::Client(client), Process::Killed)));
        }
        // A copy that rots unseen and another that is lost: what two copies do not survive.
        let kind = self.dice.range(0, 1000);
        if kind < 150 && self.servers > 3 {
            let (server, at) = (self.dice.index(self.servers), self.moment());
            self.faults.push((at, Fault::Lose(server)));
        } else if kind >= 900 {
            for _ in 0..self.dice.range(1, 4) {
                let (server, at) = (self.dice.index(self.servers), self.moment());
                self.faults.push((at, Fault::Rot(server)));
            }
        }
        if self.dice.chance(200) {
            let slow = StoreManners { delay: (1_000, 20_000), slow: (30, 1_500_000) };
            self.faults.push((Time::default(), Fault::Store(slow)));
        }
        self.faults.sort_by_key(|(at, _)| *at);
        scenario.faults = self.faults;
    }

    /// What strikes many at once, or what a process does not survive.
    fn draw_disasters(mut self) -> Vec<(Time, Fault)> {
        match self.dice.range(0, 100) {
            0..12 => self.power_losses(),
            12..18 => self.power_loss_of_all(),
            18..24 => self.mass_loss(),
            24..30 => self.cold_start(),
            30..42 => self.bad_disks(),
            _ => {}
        }
        self.faults
    }

    /// Machines lose power, one or two at about the same time.
    fn power_losses(&mut self) {
        for _ in 0..self.dice.range(1, 4) {
            let (server, at) = (self.dice.index(self.servers), self.moment());
            let away = [300_000, 3_000_000, 15_000_000][self.dice.index(3)];
            let back = at.plus(self.dice.range(50_000, away));
            self.faults.push((at, Fault::Power(server)));
            self.faults.push((back, Fault::Start(Node::Server(server))));
            if self.dice.chance(300) {
                let other = (server + 1) % self.servers;
                let soon = at.plus(self.dice.range(0, 500_000));
                self.faults.push((soon, Fault::Power(other)));
                self.faults.push((back.plus(1_000), Fault::Start(Node::Server(other))));
            }
        }
    }

    fn start_all(&mut self, at: Time, within: u64) {
        let nodes = (0..self.servers).map(Node::Server).chain([Node::Master]);
        for node in nodes.collect::<Vec<_>>() {
            let back = at.plus(self.dice.range(100_000, within));
            self.faults.push((back, Fault::Start(node)));
        }
    }

    fn power_loss_of_all(&mut self) {
        let at = self.moment();
        self.faults.push((at, Fault::PowerOfAll));
        let within = [1_000_000, 10_000_000, 50_000_000][self.dice.index(3)];
        self.start_all(at, within);
    }

    /// More than a quarter of the servers, and more than two, are gone at once, and come back.
    fn mass_loss(&mut self) {
        let at = self.moment();
        let lost =
            self.dice.range(2.max(self.servers as u64 / 2), self.servers as u64) as usize + 1;
        let how = self.how();
        for server in 0..lost.min(self.servers) {
            let soon = at.plus(self.dice.range(0, 1_000_000));
            let back = at.plus(self.dice.range(1_500_000, 40_000_000));
            self.faults.push((soon, Fault::Kill(Node::Server(server), how)));
            self.faults.push((back, Fault::Start(Node::Server(server))));
        }
    }

    /// Everything stops and is started again, one by one.
    fn cold_start(&mut self) {
        let at = self.moment();
        let nodes = (0..self.servers).map(Node::Server).chain([Node::Master]);
        for node in nodes.collect::<Vec<_>>() {
            let soon = at.plus(self.dice.range(0, 300_000));
            self.faults.push((soon, Fault::Kill(node, Process::Killed)));
        }
        let within = [1_000_000, 10_000_000, 50_000_000][self.dice.index(3)];
        self.start_all(at.plus(300_000), within);
    }

    /// Disks that fail, fill up, or are read-only for a while.
    fn bad_disks(&mut self) {
        for server in 0..self.servers {
            if !self.dice.chance(400) {
                continue;
            }
            let mut manners = DiskManners::default();
            match self.dice.range(0, 5) {
                0 => manners.fail = [300, 3_000, 30_000][self.dice.index(3)],
                1 => manners.unreadable = [300, 10_000, 100_000][self.dice.index(3)],
                2 => manners.room = self.dice.range(100_000, 2_000_000),
                3 => manners.read_only = true,
                _ => manners.delay = (5_000_000, 25_000_000),
            }
            let at = self.moment();
            let most = [1_000_000, 5_000_000, 20_000_000][self.dice.index(3)];
            let until = at.plus(self.dice.range(100_000, most));
            self.faults.push((at, Fault::Disk(server, manners)));
            self.faults.push((until, Fault::Disk(server, DiskManners::default())));
        }
    }

    fn moment(&mut self) -> Time {
        // From the time on when servers have registered.
        Time(self.dice.range(50_000, self.length * 1000))
    }

    fn weather(&mut self) {
        let mut weather = Weather::default();
        if self.dice.chance(300) {
            weather.delay = (100, [2_000, 20_000, 60_000][self.dice.index(3)]);
        }
        if self.dice.chance(250) {
            weather.late =
                (self.dice.range(1, 20), [20_000, 300_000, 3_000_000][self.dice.index(3)]);
        }
        if self.dice.chance(300) {
            weather.cut = [20, 100, 500][self.dice.index(3)];
        }
        if self.dice.chance(100) {
            weather.flip = [50, 500][self.dice.index(2)];
        }
        self.faults.push((Time::default(), Fault::Weather(weather)));
    }

    fn how(&mut self) -> Process {
        if self.dice.chance(250) { Process::Vanished } else { Process::Killed }
    }

    fn kills(&mut self) {
        for _ in 0..self.dice.range(1, 7) {
            let (server, at, how) = (self.dice.index(self.servers), self.moment(), self.how());
            let node = Node::Server(server);
            let away = [2_000, 300_000, 3_000_000, 15_000_000][self.dice.index(4)];
            let back = at.plus(self.dice.range(1_000, away + 1));
            self.faults.push((at, Fault::Kill(node, how)));
            self.faults.push((back, Fault::Start(node)));
            if self.dice.chance(300) {
                // Another one soon after.
                let other = Node::Server((server + 1) % self.servers);
                let soon = at.plus(self.dice.range(0, 2_000_000));
                self.faults.push((soon, Fault::Kill(other, Process::Killed)));
                self.faults.push((back.plus(1_000), Fault::Start(other)));
            }
        }
    }

    fn master_kills(&mut self) {
        for _ in 0..self.dice.range(1, 4) {
            let (at, how) = (self.moment(), self.how());
            let back = at.plus(self.dice.range(1_000, 4_000_000));
            self.faults.push((at, Fault::Kill(Node::Master, how)));
            self.faults.push((back, Fault::Start(Node::Master)));
        }
    }

    fn pauses(&mut self) {
        for _ in 0..self.dice.range(1, 5) {
            let node = match self.dice.range(0, 8) {
                0 => Node::Master,
                1 => Node::Client(self.dice.index(self.clients)),
                _ => Node::Server(self.dice.index(self.servers)),
            };
            let at = self.moment();
            let most = [300_000, 3_000_000, 12_000_000][self.dice.index(3)];
            self.faults.push((at, Fault::Pause(node)));
            self.faults.push((at.plus(self.dice.range(1_000, most)), Fault::Resume(node)));
        }
    }

    fn node(&mut self) -> Node {
        match self.dice.range(0, 6) {
            0 => Node::Master,
            1 => Node::Client(self.dice.index(self.clients)),
            _ => Node::Server(self.dice.index(self.servers)),
        }
    }

    fn partitions(&mut self) {
        for _ in 0..self.dice.range(1, 5) {
            let (one, other) = (self.node(), self.node());
            if one == other {
                continue;
            }
            let at = self.moment();
            let most = [500_000, 4_000_000, 14_000_000][self.dice.index(3)];
            let until = at.plus(self.dice.range(10_000, most));
            let mut directions = vec![(one, other)];
            if self.dice.chance(600) {
                directions.push((other, one));
            }
            for (from, to) in directions {
                self.faults.push((at, Fault::Block(from, to)));
                self.faults.push((until, Fault::Clear(from, to)));
            }
        }
    }

    fn disks(&mut self) {
        for server in 0..self.servers {
            if self.dice.chance(500) {
                let mut manners = DiskManners { delay: (50, 5_000), ..Default::default() };
                if self.dice.chance(400) {
                    manners.slow = (20, 4_000_000);
                }
                if self.dice.chance(300) {
                    manners.fail = [50, 500, 3_000][self.dice.index(3)];
                }
                self.faults.push((Time::default(), Fault::Disk(server, manners)));
            }
        }
    }
}
