//! The baselines: the same bytes over blocking TCP, by processes that do nothing else.
//!
//! * Read: `pread` of a warm file, 1 MiB messages, CRC-32C at the receiver.
//! * Write: a chain of three; each hop checks the CRC, writes its own file, and forwards; the
//!   acknowledgement comes back up the chain.
//!
//! The servers are this program again, started with the hidden command `raw-server`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::usage::CpuMeter;

/// Bytes of a message.
const MESSAGE: usize = 1 << 20;
/// Messages a writer has under way.
const IN_FLIGHT: u64 = 8;

const READ: u8 = 1;
const WRITE: u8 = 2;

/// What was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// User bytes a second, in MB (10^6).
    pub(crate) mb_per_s: f64,
    /// CPU seconds of all processes per GB (10^9 bytes) of user data.
    pub(crate) cpu_s_per_gb: f64,
}

impl Rate {
    pub(crate) fn of(bytes: u64, seconds: f64, cpu: f64) -> Self {
        let bytes = bytes as f64;
        Self { mb_per_s: bytes / 1e6 / seconds, cpu_s_per_gb: cpu / (bytes / 1e9) }
    }
}

/// A raw server process; ends when dropped.
pub(crate) struct RawServer {
    child: Child,
    address: SocketAddr,
}

impl RawServer {
    /// Starts one that keeps its files in `directory` and forwards writes to `next`.
    pub(crate) fn start(directory: &Path, next: Option<SocketAddr>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("raw-server").arg(directory).stdout(Stdio::piped());
        if let Some(next) = next {
            command.arg(next.to_string());
        }
        let mut child = command.spawn().context("starting a raw server")?;
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().context("the raw server printed no address")?;
        Ok(Self { child, address })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chain of three, the first one dialled.
pub(crate) struct RawChain {
    directory: PathBuf,
    servers: Vec<RawServer>,
}

impl RawChain {
    /// Starts three servers with a directory each below `directory`.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        let mut next = None;
        for number in 0..3 {
            let home = directory.join(format!("raw-{number}"));
            std::fs::create_dir_all(&home)?;
            let server = RawServer::start(&home, next)?;
            next = Some(server.address);
            servers.push(server);
        }
        servers.reverse();
        Ok(Self { directory: directory.to_owned(), servers })
    }

    /// `clients` threads write a file of `bytes` each.
    pub(crate) fn write(&self, clients: usize, bytes: u64) -> anyhow::Result<Rate> {
        let address = self.servers.first().context("no servers")?.address;
        self.timed(clients, bytes, |client| send(address, client, bytes))
    }

    /// `clients` threads read back the file each wrote.
    pub(crate) fn read(&self, clients: usize, bytes: u64) -> anyhow::Result<Rate> {
        let address = self.servers.first().context("no servers")?.address;
        self.timed(clients, bytes, |client| receive(address, client, bytes))
    }

    /// Removes the files that these clients wrote.
    pub(crate) fn remove(&self, clients: usize) -> anyhow::Result<()> {
        for number in 0..3 {
            for client in 0..clients {
                let path = self.directory.join(format!("raw-{number}/client-{client}"));
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn timed(
        &self,
        clients: usize,
        bytes: u64,
        work: impl Fn(usize) -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<Rate> {
        let cpu = CpuMeter::start(self.servers.iter().map(RawServer::pid))?;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|client| {
                    let work = &work;
                    scope.spawn(move || work(client))
                })
                .collect();
            for thread in threads {
                match thread.join() {
                    Ok(outcome) => outcome?,
                    Err(_) => bail!("a client panicked"),
                }
            }
            Ok(())
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Rate::of(bytes * clients as u64, seconds, cpu.seconds()?))
    }
}

fn send(address: SocketAddr, client: usize, bytes: u64) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    hello(&mut stream, WRITE, client, bytes)?;
    let payload: Vec<u8> = (0..MESSAGE).map(|i| (i * 31 + client) as u8).collect();
    let mut acknowledged = 0_u64;
    let mut acks = stream.try_clone()?;
    let messages = bytes / MESSAGE as u64;
    for message in 0..messages {
        while message - acknowledged >= IN_FLIGHT {
            acks.read_exact(&mut [0])?;
            acknowledged += 1;
        }
        // The writer computes the checksum of what it sends, as a client must.
        stream.write_all(&crc32c::crc32c(&payload).to_le_bytes())?;
        stream.write_all(&payload)?;
    }
    while acknowledged < messages {
        acks.read_exact(&mut [0])?;
        acknowledged += 1;
    }
    Ok(())
}

fn receive(address: SocketAddr, client: usize, bytes: u64) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    hello(&mut stream, READ, client, bytes)?;
    let mut payload = vec![0; MESSAGE];
    let mut crc = [0; 4];
    for _ in 0..bytes / MESSAGE as u64 {
        stream.read_exact(&mut crc)?;
        stream.read_exact(&mut payload)?;
        if crc32c::crc32c(&payload) != u32::from_le_bytes(crc) {
            bail!("wrong checksum");
        }
    }
    Ok(())
}

fn hello(stream: &mut TcpStream, kind: u8, client: usize, bytes: u64) -> anyhow::Result<()> {
    let mut message = [0; 17];
    message[0] = kind;
    message[1..9].copy_from_slice(&(client as u64).to_le_bytes());
    message[9..].copy_from_slice(&bytes.to_le_bytes());
    Ok(stream.write_all(&message)?)
}

/// The server process: serves until killed.
pub(crate) fn serve(directory: PathBuf, next: Option<SocketAddr>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    for stream in listener.incoming() {
        let (stream, directory) = (stream?, directory.clone());
        std::thread::spawn(move || {
            // A client that goes away ends its own thread only.
            let _ = serve_one(stream, &directory, next);
        });
    }
    Ok(())
}

fn serve_one(
    mut stream: TcpStream,
    directory: &Path,
    next: Option<SocketAddr>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; 17];
    stream.read_exact(&mut message)?;
    let client = u64::from_le_bytes(message[1..9].try_into()?) as usize;
    let bytes = u64::from_le_bytes(message[9..].try_into()?);
    let path = directory.join(format!("client-{client}"));
    let mut payload = vec![0; MESSAGE];
    if message[0] == READ {
        let file = File::open(path)?;
        // Checksums of a stored file are known, not computed: here once, ahead.
        file.read_exact_at(&mut payload, 0)?;
        let crc = crc32c::crc32c(&payload).to_le_bytes();
        for message in 0..bytes / MESSAGE as u64 {
            file.read_exact_at(&mut payload, message * MESSAGE as u64)?;
            stream.write_all(&crc)?;
            stream.write_all(&payload)?;
        }
        return Ok(());
    }
    let file = File::create(path)?;
    let mut down = match next {
        Some(next) => {
            let mut down = TcpStream::connect(next)?;
            down.set_nodelay(true)?;
            hello(&mut down, WRITE, client, bytes)?;
            Some(down)
        }
        None => None,
    };
    if let Some(down) = &down {
        // Acknowledgements from below go up as they come.
        let (mut from, mut to) = (down.try_clone()?, stream.try_clone()?);
        std::thread::spawn(move || {
            let mut acks = [0; 64];
            while let Ok(count) = from.read(&mut acks) {
                if count == 0 || to.write_all(&acks[..count]).is_err() {
                    break;
                }
            }
        });
    }
    let mut crc = [0; 4];
    for message in 0..bytes / MESSAGE as u64 {
        stream.read_exact(&mut crc)?;
        stream.read_exact(&mut payload)?;
        if let Some(down) = &mut down {
            down.write_all(&crc)?;
            down.write_all(&payload)?;
        }
        if crc32c::crc32c(&payload) != u32::from_le_bytes(crc) {
            bail!("wrong checksum");
        }
        file.write_all_at(&payload, message * MESSAGE as u64)?;
        if down.is_none() {
            stream.write_all(&[1])?;
        }
    }
    if let Some(mut down) = down {
        down.flush()?;
        // Until the client has all acknowledgements and closes.
        let _ = stream.read(&mut [0]);
    }
    Ok(())
}
