//! The cluster: a master and chunkservers, each started, killed, stopped and restarted at will.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use crate::child::{Running, Spawner, tail};
use crate::options::Options;
use crate::probe::http_get;
use crate::state::{ClusterState, Lock, PartState, write_state};

/// How long a process may take to become ready when the cluster starts.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long one may take to end when asked to.
const END_PATIENCE: Duration = Duration::from_secs(30);
const PROBE_PATIENCE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);

/// One of the cluster's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The master.
    Master,
    /// The chunkserver with this number, from 0 on.
    Server(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Server(number) => write!(f, "chunkserver-{number}"),
        }
    }
}

/// A running cluster. Dropping it kills all its processes; so does the kernel if this process is
/// killed. Shared references suffice for everything, so that tests can kill from one thread while
/// they write from another.
pub struct LocalCluster {
    options: Options,
    processes: Vec<Process>,
    // Dropped after the processes: with its thread the kernel would kill them.
    spawner: Spawner,
    _lock: Lock,
}

/// A process's fixed facts, and its present incarnation if it has one.
struct Process {
    part: Part,
    binary: PathBuf,
    arguments: Vec<String>,
    grpc: SocketAddr,
    http: SocketAddr,
    /// The first is where everything else of it lies, too.
    data: Vec<PathBuf>,
    log: PathBuf,
    running: Mutex<Option<Running>>,
}

impl LocalCluster {
    /// Starts all processes and waits until each is ready. A directory that holds a cluster is
    /// taken up again, with its data.
    ///
    /// # Errors
    /// Where the directory is in use, or a process does not start or not become ready; its last
    /// words are part of the error.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        options.check()?;
        let logs = options.data.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
        let lock = Lock::take(&options.data)?;
        let parts = std::iter::once(Part::Master).chain((0..options.servers).map(Part::Server));
        let processes =
            parts.map(|part| Process::new(part, &options)).collect::<anyhow::Result<Vec<_>>>()?;
        let cluster = Self { options, processes, spawner: Spawner::new()?, _lock: lock };
        cluster.start_part(Part::Master)?;
        cluster.wait_part_ready(Part::Master, START_PATIENCE)?;
        for server in cluster.servers() {
            cluster.start_part(server)?;
        }
        cluster.wait_ready(START_PATIENCE)?;
        Ok(cluster)
    }

    /// What clients connect to: the master's `ADDRESS:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.processes.first().map(|master| master.grpc.to_string()).unwrap_or_default()
    }

    /// The options it was started with.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The chunkservers.
    pub fn servers(&self) -> impl Iterator<Item = Part> + use<> {
        (0..self.options.servers).map(Part::Server)
    }

    /// All processes, the master first.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        std::iter::once(Part::Master).chain(self.servers())
    }

    /// Where `part` serves gRPC.
    ///
    /// # Errors
    /// Where there is no such part; so too of the next ones.
    pub fn grpc(&self, part: Part) -> anyhow::Result<SocketAddr> {
        Ok(self.process(part)?.grpc)
    }

    /// Where `part` serves `/healthz`, `/readyz` and `/metrics`.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn http(&self, part: Part) -> anyhow::Result<SocketAddr> {
        Ok(self.process(part)?.http)
    }

    /// The directory of `part`'s files: of a chunkserver with several, the first.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn data(&self, part: Part) -> anyhow::Result<&Path> {
        self.directories(part)?.first().map(PathBuf::as_path).context("no data directory")
    }

    /// All data directories of `part`.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn directories(&self, part: Part) -> anyhow::Result<&[PathBuf]> {
        Ok(&self.process(part)?.data)
    }

    /// The file `part` logs to.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn log(&self, part: Part) -> anyhow::Result<&Path> {
        Ok(&self.process(part)?.log)
    }

    /// The process id of `part`, while it runs.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn pid(&self, part: Part) -> anyhow::Result<Option<u32>> {
        let mut guard = self.process(part)?.lock();
        let Some(running) = guard.as_mut() else { return Ok(None) };
        Ok(running.ended()?.is_none().then(|| running.pid()))
    }

    /// The uuid under which chunkserver `part` last said it registered.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn server_uuid(&self, part: Part) -> anyhow::Result<Option<String>> {
        let line = self.process(part)?.lock().as_ref().and_then(Running::ready_line);
        Ok(line.and_then(|line| {
            line.split_whitespace().find_map(|word| word.strip_prefix("server=").map(str::to_owned))
        }))
    }

    /// Sends a signal to `part`. With SIGKILL this waits until it is gone.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&self, part: Part, signal: Signal) -> anyhow::Result<()> {
        let mut guard = self.process(part)?.lock();
        let running = guard.as_mut().with_context(|| format!("{part} does not run"))?;
        running.signal(signal).with_context(|| format!("signalling {part}"))?;
        if signal == Signal::KILL {
            let ended = running.wait(END_PATIENCE)?;
            ensure!(ended.is_some(), "{part} survived SIGKILL for {END_PATIENCE:?}");
        }
        Ok(())
    }

    /// Freezes `part` with SIGSTOP.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn stop(&self, part: Part) -> anyhow::Result<()> {
        self.kill(part, Signal::STOP)
    }

    /// Lets a frozen `part` go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn cont(&self, part: Part) -> anyhow::Result<()> {
        self.kill(part, Signal::CONT)
    }

    /// Ends `part` in an orderly way. Says whether it ended by itself, not by SIGKILL.
    ///
    /// # Errors
    /// Where that fails.
    pub fn end(&self, part: Part) -> anyhow::Result<bool> {
        match self.process(part)?.lock().take() {
            None => Ok(true),
            Some(mut running) => {
                running.end(END_PATIENCE).with_context(|| format!("ending {part}"))
            }
        }
    }

    /// Starts `part` again with the same flags and data, after ending it if it runs. Does not wait
    /// until it is ready.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart(&self, part: Part) -> anyhow::Result<()> {
        self.end(part)?;
        self.start_part(part)
    }

    /// Waits until `part` has ended, and says how.
    ///
    /// # Errors
    /// Where it still runs after `patience`.
    pub fn wait_ended(&self, part: Part, patience: Duration) -> anyhow::Result<ExitStatus> {
        let process = self.process(part)?;
        let until = Instant::now() + patience;
        loop {
            // The lock is taken anew each time: others may signal the process meanwhile.
            let ended = process.lock().as_mut().map(Running::ended).transpose()?;
            if let Some(status) = ended.with_context(|| format!("{part} was not started"))? {
                return Ok(status);
            }
            ensure!(Instant::now() < until, "{part} still runs after {patience:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until all processes are ready.
    ///
    /// # Errors
    /// Where one ends, or is not ready after `patience`.
    pub fn wait_ready(&self, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        for part in self.parts() {
            self.wait_part_ready(part, until.saturating_duration_since(Instant::now()))?;
        }
        Ok(())
    }

    /// Waits until `part` has said that it is ready and `/readyz` agrees.
    ///
    /// # Errors
    /// Where it ends, or is not ready after `patience`.
    pub fn wait_part_ready(&self, part: Part, patience: Duration) -> anyhow::Result<()> {
        let process = self.process(part)?;
        let until = Instant::now() + patience;
        loop {
            let reason = match process.readiness()? {
                Readiness::Ready => return Ok(()),
                Readiness::NotYet(reason) => reason,
            };
            if Instant::now() >= until {
                bail!("{part} is not ready after {patience:?}: {reason}");
            }
            std::thread::sleep(POLL);
        }
    }

    /// The metrics page of `part`.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn metrics(&self, part: Part) -> anyhow::Result<String> {
        let answer = http_get(self.process(part)?.http, "/metrics", Duration::from_secs(5))
            .with_context(|| format!("asking {part} for its metrics"))?;
        Ok(answer.body)
    }

    /// The parts that have ended without having been restarted, and how; each is told once.
    ///
    /// # Errors
    /// Where that cannot be found out.
    pub fn take_ended(&self) -> anyhow::Result<Vec<(Part, ExitStatus)>> {
        let mut ended = Vec::new();
        for process in &self.processes {
            let mut running = process.lock();
            if let Some(status) = running.as_mut().map(Running::ended).transpose()?.flatten() {
                running.take();
                ended.push((process.part, status));
            }
        }
        if !ended.is_empty() {
            self.write_state()?;
        }
        Ok(ended)
    }

    /// Ends everything in an orderly way: the chunkservers, all at once, then the master. Says
    /// which processes had to be killed.
    ///
    /// # Errors
    /// Where a process cannot be signalled.
    pub fn shutdown(self) -> anyhow::Result<Vec<Part>> {
        for server in self.servers() {
            let mut running = self.process(server)?.lock();
            if let Some(running) = running.as_mut() {
                // One that has ended already needs no signal; `end` below sees to the rest.
                let _ = running.signal(Signal::TERM);
                let _ = running.signal(Signal::CONT);
            }
        }
        let mut killed = Vec::new();
        for part in self.servers().chain([Part::Master]) {
            if !self.wait_and_end(part)? {
                killed.push(part);
            }
        }
        self.write_state()?;
        Ok(killed)
    }

    /// Waits for one that was asked to end; asking twice would cut its shutdown short.
    fn wait_and_end(&self, part: Part) -> anyhow::Result<bool> {
        if part == Part::Master {
            return self.end(part);
        }
        let Some(mut running) = self.process(part)?.lock().take() else { return Ok(true) };
        Ok(running.wait(END_PATIENCE)?.is_some())
    }

    fn start_part(&self, part: Part) -> anyhow::Result<()> {
        let process = self.process(part)?;
        let started =
            Running::start(&self.spawner, &process.binary, &process.arguments, &process.log)?;
        *process.lock() = Some(started);
        self.write_state()
    }

    fn process(&self, part: Part) -> anyhow::Result<&Process> {
        let place = match part {
            Part::Master => 0,
            Part::Server(number) => number.saturating_add(1),
        };
        self.processes.get(place).with_context(|| format!("this cluster has no {part}"))
    }

    fn write_state(&self) -> anyhow::Result<()> {
        let part = |process: &Process| PartState {
            name: process.part.to_string(),
            pid: process.lock().as_ref().map(Running::pid),
            grpc: process.grpc,
            http: process.http,
            data: process.data.first().cloned().unwrap_or_default(),
            log: process.log.clone(),
        };
        let state = ClusterState {
            pid: std::process::id(),
            endpoint: self.endpoint(),
            parts: self.processes.iter().map(part).collect(),
        };
        write_state(&self.options.data, &state)
    }
}

enum Readiness {
    Ready,
    NotYet(String),
}

impl Process {
    fn new(part: Part, options: &Options) -> anyhow::Result<Self> {
        let address = |offset: usize| -> anyhow::Result<SocketAddr> {
            let port = usize::from(options.first_port) + offset;
            Ok(SocketAddrV4::new(options.address, u16::try_from(port)?).into())
        };
        let slot = match part {
            Part::Master => 0,
            Part::Server(number) => number + 1,
        };
        let (grpc, http) = (address(2 * slot)?, address(2 * slot + 1)?);
        let disk = |number: usize| match number {
            0 => options.data.join(part.to_string()),
            number => options.data.join(format!("{part}-disk-{number}")),
        };
        let disks = if part == Part::Master { 1 } else { options.directories };
        let data: Vec<PathBuf> = (0..disks).map(disk).collect();
        // A server that has volumes already takes in a new directory, and makes none.
        for dir in data.iter().skip(1) {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let log = options.data.join("logs").join(format!("{part}.log"));
        let mut arguments = vec![
            format!("--listen={grpc}"),
            format!("--http-listen={http}"),
            format!("--log-level={}", options.log),
        ];
        arguments.extend(data.iter().map(|dir| format!("--data={}", dir.display())));
        let binary = match part {
            Part::Master => {
                arguments.push("--metadata=embedded".to_owned());
                arguments.extend(options.chunk_size.map(|size| format!("--chunk-size={size}")));
                arguments.extend_from_slice(&options.master_arguments);
                &options.binaries.master
            }
            Part::Server(number) => {
                arguments.push(format!("--master={}", address(0)?));
                arguments.push(format!("--node=node-{number}"));
                arguments.push(format!("--zone=zone-{}", number % options.zones));
                arguments.push(format!("--pod={part}"));
                arguments.extend_from_slice(&options.server_arguments);
                &options.binaries.chunkserver
            }
        };
        let binary = binary.clone();
        Ok(Self { part, binary, arguments, grpc, http, data, log, running: Mutex::new(None) })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readiness(&self) -> anyhow::Result<Readiness> {
        {
            let mut guard = self.lock();
            let running = guard.as_mut().with_context(|| format!("{} does not run", self.part))?;
            if let Some(status) = running.ended()? {
                let words = tail(&self.log);
                bail!(
                    "{} ended ({status}); the end of {}:\n{words}",
                    self.part,
                    self.log.display()
                );
            }
            if running.ready_line().is_none() {
                return Ok(Readiness::NotYet("it has not said so".to_owned()));
            }
        }
        Ok(match http_get(self.http, "/readyz", PROBE_PATIENCE) {
            Ok(answer) if answer.status == 200 => Readiness::Ready,
            Ok(answer) => Readiness::NotYet(answer.body.trim_end().to_owned()),
            Err(error) => Readiness::NotYet(format!("/readyz: {error}")),
        })
    }
}
