//! Bulk streams against blocking TCP, in processes of their own so that CPU can be told apart.
//!
//! ```text
//! cargo run --release -p gfs-transport --features allocator --example raw_vs_bulk -- [read] [chain] [key=value ...]
//! ```
//!
//! | key | default | |
//! |---|---|---|
//! | `gib` | 4 | user data moved in each measurement |
//! | `runs` | 3 | rounds; the table shows the median |
//! | `streams` | 1 | streams, or raw connections, at once |
//! | `workers` | 2 | runtime threads of each bulk process |
//! | `frame` | as shipped | largest HTTP/2 frame, KiB |
//! | `window` | as shipped | stream window, KiB |
//! | `buffer` | as shipped | send buffer, KiB |
//!
//! *read*: a server preads a warm file of 256 MiB and streams it in messages of 1 MiB, the client
//! checks the CRC-32C of each. *chain*: a client sends messages of 1 MiB with their CRC-32C to the
//! first of three servers, each checks and passes on what it received, the last acknowledges, and
//! the client keeps 8 messages of each stream under way. *peak* and *after* are the resident memory
//! of the largest process, at its height and, for servers, 2 s after the load has ended.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use gfs_transport::memory::{Allocator, TRIM_INTERVAL};
use gfs_transport::{
    BulkCall, BulkFrame, BulkReceiver, BulkSender, Config, Dialer, Peer, Server, TcpConnector,
    tcp_incoming,
};
use http::HeaderMap;
use tokio::sync::Semaphore;
use tonic::Status;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const MIB: usize = 1 << 20;
const FILE_MIB: usize = 256;
const UNDER_WAY: usize = 8;
const READ: &str = "/bench.Bulk/Read";
const PUSH: &str = "/bench.Bulk/Push";

/// `key=value` arguments, passed on to the child processes as they are.
#[derive(Clone)]
struct Args(HashMap<String, String>);

impl Args {
    fn number(&self, key: &str, default: usize) -> Result<usize> {
        let Some(value) = self.0.get(key) else { return Ok(default) };
        value.parse().with_context(|| format!("{key}={value}"))
    }

    fn text(&self, key: &str) -> Result<&str> {
        self.0.get(key).map(String::as_str).with_context(|| format!("{key}= is missing"))
    }

    fn config(&self) -> Result<Config> {
        let mut config = Config::default();
        let kib = |value: u32| value as usize >> 10;
        config.max_frame_size = (self.number("frame", kib(config.max_frame_size))? << 10) as u32;
        config.stream_window = (self.number("window", kib(config.stream_window))? << 10) as u32;
        config.connection_window = config.stream_window * config.streams_per_connection as u32;
        config.send_buffer = self.number("buffer", config.send_buffer >> 10)? << 10;
        Ok(config)
    }

    fn streams(&self) -> Result<usize> {
        self.number("streams", 1)
    }

    /// Messages of each stream.
    fn messages(&self) -> Result<usize> {
        Ok(self.number("gib", 4)? * 1024 / self.streams()?)
    }
}

fn main() -> Result<()> {
    let (pairs, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.contains('='));
    let split =
        |pair: &String| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let args = Args(pairs.iter().filter_map(split).collect());
    match words.first().map(String::as_str) {
        Some("server") => serve(&args),
        Some("client") => client(&args),
        _ => compare(&args, &pairs, &words),
    }
}

// --- The parent: starts processes, adds up their figures ---

/// Throughput and CPU of one run.
#[derive(Clone, Copy, Debug)]
struct Figure {
    mb_per_second: f64,
    cpu_seconds_per_gb: f64,
    peak_mib: f64,
    after_mib: f64,
}

fn compare(args: &Args, pairs: &[String], words: &[String]) -> Result<()> {
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let data = tempfile::Builder::new().prefix("raw-vs-bulk").tempfile()?;
    let block: Vec<u8> = (0..MIB).map(|at| (at as u32).wrapping_mul(0x9e37_79b9) as u8).collect();
    for _ in 0..FILE_MIB {
        data.as_file().write_all(&block)?;
    }
    let file = format!("file={}", data.path().display());
    println!("               MB/s   of raw   CPU-s per GB   peak MiB   after MiB");
    for (name, servers) in [("read", 1), ("chain", 3)] {
        if !wanted(name) {
            continue;
        }
        let mut rounds: [Vec<Figure>; 2] = Default::default();
        for _ in 0..args.number("runs", 3)? {
            // One after the other in turn, so that a change of the machine's mood hits both.
            for (wire, figures) in ["raw", "bulk"].into_iter().zip(&mut rounds) {
                let mode = format!("mode={wire}-{name}");
                let arguments: Vec<&str> =
                    pairs.iter().map(String::as_str).chain([&*mode, &*file]).collect();
                figures.push(run(servers, &arguments)?);
            }
        }
        let [raw, bulk] = rounds.map(median);
        for (wire, figure) in [("raw", raw), ("bulk", bulk)] {
            println!(
                "{name:<6} {wire:<4}{:>8.0}{:>8.0}%{:>15.2}{:>11.0}{:>12.0}",
                figure.mb_per_second,
                figure.mb_per_second / raw.mb_per_second * 100.0,
                figure.cpu_seconds_per_gb,
                figure.peak_mib,
                figure.after_mib
            );
        }
    }
    Ok(())
}

fn median(mut figures: Vec<Figure>) -> Figure {
    figures.sort_by(|a, b| a.mb_per_second.total_cmp(&b.mb_per_second));
    figures[figures.len() / 2]
}

fn run(servers: usize, arguments: &[&str]) -> Result<Figure> {
    let mut chain: Vec<(Child, BufReader<_>)> = Vec::new();
    let mut next = String::new();
    // The last of the chain first: each is told the address of the one after it.
    for _ in 0..servers {
        let mut server = Command::new(std::env::current_exe()?)
            .arg("server")
            .args(arguments)
            .arg(format!("next={next}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(server.stdout.take().context("stdout")?);
        next = line(&mut out)?;
        chain.push((server, out));
    }
    let client = Command::new(std::env::current_exe()?)
        .arg("client")
        .args(arguments)
        .arg(format!("next={next}"))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(client.status.success(), "the client failed: {}", client.status);
    let said = String::from_utf8(client.stdout)?;
    let numbers: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [bytes, seconds, mut cpu, mut peak_mib] = numbers[..] else {
        bail!("the client said {said:?}")
    };
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut after_mib = 0.0_f64;
    for (mut server, mut out) in chain {
        after_mib = after_mib.max(memory_mib(server.id(), "VmRSS")?);
        peak_mib = peak_mib.max(memory_mib(server.id(), "VmHWM")?);
        drop(server.stdin.take());
        cpu += line(&mut out)?.parse::<f64>()?;
        server.wait()?;
    }
    let gb = bytes / 1e9;
    Ok(Figure {
        mb_per_second: gb * 1e3 / seconds,
        cpu_seconds_per_gb: cpu / gb,
        peak_mib,
        after_mib,
    })
}

/// A figure of `/proc/PID/status`, there in KiB.
fn memory_mib(process: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context("no such line")?;
    let kib = line.split_whitespace().nth(1).context("no number")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    ensure!(!line.is_empty(), "a child process ended early");
    Ok(line.trim_end().to_owned())
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

// --- The children ---

/// Prints its address, serves until its input ends, prints the CPU it used.
fn serve(args: &Args) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let args = args.clone();
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(TRIM_INTERVAL);
            gfs_transport::memory::trim();
        }
    });
    std::thread::spawn(move || {
        let served = match args.text("mode") {
            Ok("raw-read") => raw_server(&listener, &args, raw_read_server),
            Ok("raw-chain") => raw_server(&listener, &args, raw_chain_server),
            _ => runtime(&args).and_then(|runtime| runtime.block_on(bulk_server(listener, &args))),
        };
        if let Err(error) = served {
            eprintln!("server: {error:#}");
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", cpu_seconds());
    Ok(())
}

/// Moves the data; prints bytes, seconds, and the CPU it used.
fn client(args: &Args) -> Result<()> {
    let started = Instant::now();
    let messages = args.messages()?;
    match args.text("mode")? {
        "raw-read" => raw_clients(args, raw_read_client)?,
        "raw-chain" => raw_clients(args, raw_chain_client)?,
        "bulk-read" => runtime(args)?.block_on(bulk_clients(args, bulk_read_client))?,
        "bulk-chain" => runtime(args)?.block_on(bulk_clients(args, bulk_chain_client))?,
        mode => bail!("unknown mode {mode}"),
    }
    let seconds = started.elapsed().as_secs_f64();
    let bytes = messages * args.streams()? * MIB;
    let peak = memory_mib(std::process::id(), "VmHWM")?;
    println!("{bytes} {seconds} {} {peak}", cpu_seconds());
    Ok(())
}

fn raw_clients(args: &Args, client: fn(&Args) -> Result<()>) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..args.streams()?).map(|_| scope.spawn(move || client(args))).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(())
    })
}

async fn bulk_clients<R>(args: &Args, client: fn(Peer, usize) -> R) -> Result<()>
where
    R: Future<Output = Result<()>> + Send + 'static,
{
    let dialer = Dialer::new(Arc::new(TcpConnector), args.config()?);
    let peer = dialer.peer(args.text("next")?)?;
    let messages = args.messages()?;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..args.streams()? {
        clients.spawn(client(peer.clone(), messages));
    }
    while let Some(outcome) = clients.join_next().await {
        outcome??;
    }
    Ok(())
}

fn runtime(args: &Args) -> Result<tokio::runtime::Runtime> {
    let workers = args.number("workers", 2)?;
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

/// The next MiB of the warm file, in memory that was not cleared first.
fn pread(file: &File, number: usize) -> std::io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(MIB);
    let start = (number % FILE_MIB * MIB) as u64;
    while buffer.len() < MIB {
        let at = start + buffer.len() as u64;
        rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at)?;
    }
    Ok(buffer)
}

// --- Blocking TCP ---

/// A thread for each connection.
fn raw_server(
    listener: &TcpListener,
    args: &Args,
    serve: fn(TcpStream, &Args) -> Result<()>,
) -> Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let args = args.clone();
        std::thread::spawn(move || {
            if let Err(error) = serve(stream, &args) {
                eprintln!("server: {error:#}");
            }
        });
    }
}

fn raw_read_server(mut stream: TcpStream, args: &Args) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let file = File::open(args.text("file")?)?;
    let mut buffer = vec![0; MIB];
    for number in 0..args.messages()? {
        file.read_exact_at(&mut buffer, (number % FILE_MIB * MIB) as u64)?;
        stream.write_all(&buffer)?;
    }
    Ok(())
}

fn raw_read_client(args: &Args) -> Result<()> {
    let mut stream = TcpStream::connect(args.text("next")?)?;
    let mut buffer = vec![0; MIB];
    let mut expected = None;
    for _ in 0..args.messages()? {
        stream.read_exact(&mut buffer)?;
        let crc = crc32c::crc32c(&buffer);
        ensure!(*expected.get_or_insert(crc) == crc, "wrong bytes");
    }
    Ok(())
}

fn raw_chain_server(mut up: TcpStream, args: &Args) -> Result<()> {
    let mut down = match args.text("next")? {
        "" => None,
        next => {
            let down = TcpStream::connect(next)?;
            down.set_nodelay(true)?;
            Some(down)
        }
    };
    if let Some(down) = &down {
        let (mut from, mut to) = (down.try_clone()?, up.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    }
    let mut crc = [0; 4];
    let mut buffer = vec![0; MIB];
    for _ in 0..args.messages()? {
        up.read_exact(&mut crc)?;
        up.read_exact(&mut buffer)?;
        ensure!(crc32c::crc32c(&buffer) == u32::from_le_bytes(crc), "wrong bytes");
        match &mut down {
            Some(down) => {
                down.write_all(&crc)?;
                down.write_all(&buffer)?;
            }
            None => up.write_all(&[1])?,
        }
    }
    Ok(())
}

fn raw_chain_client(args: &Args) -> Result<()> {
    let messages = args.messages()?;
    let mut stream = TcpStream::connect(args.text("next")?)?;
    stream.set_nodelay(true)?;
    let mut acknowledged = stream.try_clone()?;
    let buffer = vec![7; MIB];
    let mut ack = [0];
    for sent in 0..messages + UNDER_WAY {
        if sent >= UNDER_WAY {
            acknowledged.read_exact(&mut ack)?;
        }
        if sent < messages {
            stream.write_all(&crc32c::crc32c(&buffer).to_le_bytes())?;
            stream.write_all(&buffer)?;
        }
    }
    Ok(())
}

// --- Bulk streams ---

async fn bulk_server(listener: TcpListener, args: &Args) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let file = Arc::new(File::open(args.text("file")?)?);
    let messages = args.messages()?;
    let read = move |_: BulkCall, mut sender: BulkSender, _: BulkReceiver| {
        let file = Arc::clone(&file);
        async move {
            for number in 0..messages {
                let data = pread(&file, number)?;
                sender.send(BulkFrame::new("", data)).await?;
            }
            Ok(())
        }
    };
    let next = match args.text("next")? {
        "" => None,
        next => {
            let dialer = Dialer::new(Arc::new(TcpConnector), args.config()?);
            Some(dialer.peer(next)?)
        }
    };
    let push = move |_: BulkCall, sender: BulkSender, receiver: BulkReceiver| {
        let next = next.clone();
        async move {
            match next {
                Some(next) => forward(&next, sender, receiver).await,
                None => acknowledge(sender, receiver).await,
            }
        }
    };
    let server = Server::new(args.config()?).bulk(READ, read).bulk(PUSH, push);
    server.serve(tcp_incoming(listener), std::future::pending()).await;
    Ok(())
}

/// CRC-32C of all pieces.
fn crc(payload: &[Bytes]) -> u32 {
    payload.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece))
}

fn check(frame: &BulkFrame) -> Result<(), Status> {
    if crc(&frame.payload).to_le_bytes() == *frame.head {
        return Ok(());
    }
    Err(Status::data_loss("wrong bytes"))
}

async fn forward(
    next: &Peer,
    mut up_sender: BulkSender,
    mut up: BulkReceiver,
) -> Result<(), Status> {
    let (mut down, mut acks) = next.open(PUSH, HeaderMap::new()).await?;
    let pass_on = async {
        while let Some(frame) = up.recv().await? {
            check(&frame)?;
            down.send(frame).await?;
        }
        down.finish().await?;
        Ok::<_, Status>(())
    };
    let pass_back = async {
        while let Some(ack) = acks.recv().await? {
            up_sender.send(ack).await?;
        }
        Ok::<_, Status>(())
    };
    tokio::try_join!(pass_on, pass_back)?;
    Ok(())
}

async fn acknowledge(mut sender: BulkSender, mut receiver: BulkReceiver) -> Result<(), Status> {
    while let Some(frame) = receiver.recv().await? {
        check(&frame)?;
        sender.send(BulkFrame::head_only(frame.head)).await?;
    }
    Ok(())
}

async fn bulk_read_client(peer: Peer, messages: usize) -> Result<()> {
    let (sender, mut receiver) = peer.open(READ, HeaderMap::new()).await?;
    sender.finish().await?;
    let mut expected = None;
    let mut got = 0;
    while let Some(frame) = receiver.recv().await? {
        let crc = crc(&frame.payload);
        ensure!(*expected.get_or_insert(crc) == crc, "wrong bytes");
        got += 1;
    }
    ensure!(got == messages, "{got} of {messages} messages");
    Ok(())
}

async fn bulk_chain_client(peer: Peer, messages: usize) -> Result<()> {
    let (mut sender, mut receiver) = peer.open(PUSH, HeaderMap::new()).await?;
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let taken = Arc::clone(&room);
    let send = tokio::spawn(async move {
        let buffer = Bytes::from(vec![7; MIB]);
        for _ in 0..messages {
            taken.acquire().await?.forget();
            let head = Bytes::copy_from_slice(&crc32c::crc32c(&buffer).to_le_bytes());
            sender.send(BulkFrame::new(head, buffer.clone())).await?;
        }
        sender.finish().await?;
        anyhow::Ok(())
    });
    let mut acknowledged = 0;
    while receiver.recv().await?.is_some() {
        acknowledged += 1;
        room.add_permits(1);
    }
    send.await??;
    ensure!(acknowledged == messages, "{acknowledged} of {messages} acknowledged");
    Ok(())
}
