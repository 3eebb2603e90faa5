//! One child process: started, signalled, awaited, never left behind.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

const POLL: Duration = Duration::from_millis(5);

/// The thread that starts the children. The kernel kills a child of ours when the *thread* that
/// started it ends, so that has to be one that lives as long as the cluster does.
pub(crate) struct Spawner {
    requests: Sender<(Command, Sender<io::Result<Child>>)>,
}

impl Spawner {
    pub(crate) fn new() -> io::Result<Self> {
        let (requests, received) = channel::<(Command, Sender<io::Result<Child>>)>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (mut command, reply) in received {
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Self { requests })
    }

    fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the spawner thread is gone");
        let (reply, child) = channel();
        self.requests.send((command, reply)).map_err(|_| gone())?;
        child.recv().map_err(|_| gone())?
    }
}

/// A child process, and the line with which it said that it is ready.
pub(crate) struct Running {
    child: Child,
    ready_line: Arc<Mutex<Option<String>>>,
}

impl Running {
    /// Starts `binary`, which writes both its streams to the end of `log`, and in a process group
    /// of its own, so that a Ctrl-C in a terminal reaches only its parent.
    pub(crate) fn start(
        spawner: &Spawner,
        binary: &Path,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let open = || {
            let log_file = OpenOptions::new().create(true).append(true).open(log);
            log_file.with_context(|| format!("opening {}", log.display()))
        };
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .arg("--die-with-parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(open()?)
            .process_group(0);
        let mut child =
            spawner.spawn(command).with_context(|| format!("starting {}", binary.display()))?;
        let ready_line = Arc::default();
        if let Some(stdout) = child.stdout.take() {
            let (ready_line, log) = (Arc::clone(&ready_line), open()?);
            std::thread::spawn(move || forward(stdout, log, &ready_line));
        }
        Ok(Self { child, ready_line })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The line with which this incarnation said that it is ready.
    pub(crate) fn ready_line(&self) -> Option<String> {
        self.ready_line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal. One that has ended but was not yet awaited keeps its id, so this can never
    /// reach a stranger.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits at most `patience` for its end.
    pub(crate) fn wait(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks it to end, and kills it when it has not after `patience`. Says whether it ended by
    /// itself.
    pub(crate) fn end(&mut self, patience: Duration) -> io::Result<bool> {
        // A stopped process acts on SIGTERM only once it goes on.
        let asked = self.signal(Signal::TERM).and_then(|()| self.signal(Signal::CONT));
        let ended = match asked {
            Ok(()) => self.wait(patience)?.is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if !ended {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing can be done where this fails: then it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies what a process says to its log, and keeps the line that says it is ready.
fn forward(stdout: ChildStdout, mut log: File, ready_line: &Mutex<Option<String>>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        // Without its log it may still run; the line is all that is lost.
        let _ = writeln!(log, "{line}");
        if line.contains(" ready ") {
            *ready_line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
    }
}

/// The last lines of a log, to explain why its process ended.
pub(crate) fn tail(log: &Path) -> String {
    const TAIL: u64 = 4096;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(its log cannot be read: {error})"));
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
}
