//! Heartbeats, from a thread of their own with a runtime and a connection of their own: whatever
//! the disk, the data streams or the other threads do, the master hears that this server lives.
//! Nothing here touches the disk or takes a lock that is held over I/O.

use crate::node::Node;
use crate::session::{Link, Session};
use anyhow::Context as _;
use gfs_core::replica::Event;
use gfs_process::{Pulse, Shutdown};
use gfs_proto::{detail_of, v1 as pb};
use gfs_transport::{Connector, Dialer};
use gfs_types::ErrorCode;
use pb::rpc::session_client::SessionClient;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// Before a broken stream of beats is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the thread is made from.
pub(crate) struct Heartbeats {
    pub(crate) node: Arc<Node>,
    pub(crate) links: Vec<Arc<Link>>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) transport: gfs_transport::Config,
    pub(crate) shutdown: Shutdown,
    pub(crate) pulse: Pulse,
    /// Where the rest of the server runs.
    pub(crate) main: Handle,
}

impl Heartbeats {
    /// The thread: beats to every master until shutdown. (The end of the process ends the last
    /// streams; until the server has drained, beats say that it is leaving.)
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("a runtime for heartbeats")?;
        runtime.block_on(async {
            let dialer = Dialer::new(Arc::clone(&self.connector), self.transport.clone());
            let this = &self;
            let beats = this.links.iter().map(|link| {
                let dialer = dialer.clone();
                async move { this.keep(link, &dialer).await }
            });
            let all = tokio::task::LocalSet::new();
            let all = all.run_until(join_all(beats));
            tokio::select! {
                () = all => {}
                () = self.shutdown.requested() => {}
            }
        });
        self.pulse.retire();
        Ok(())
    }

    /// Beats to one master for ever.
    async fn keep(&self, link: &Arc<Link>, dialer: &Dialer) {
        let mut sessions = link.session.subscribe();
        loop {
            let session = *sessions.borrow_and_update();
            if session.number == 0 {
                tokio::select! {
                    _ = sessions.changed() => {}
                    () = sleep(PAUSE) => self.pulse.beat(),
                }
                continue;
            }
            tokio::select! {
                ended = self.beat(link, session, dialer) => {
                    if let Err(error) = ended {
                        let text = format!("{error:#}");
                        tracing::debug!(master = link.address, error = text, "no heartbeats");
                    }
                    sleep(PAUSE).await;
                }
                _ = sessions.changed() => {}
            }
        }
    }

    /// One stream of beats.
    async fn beat(&self, link: &Link, session: Session, dialer: &Dialer) -> anyhow::Result<()> {
        let (beats, queue) = mpsc::channel(4);
        let mut client = SessionClient::new(dialer.peer(&link.address)?.control());
        let mut sequence = 1;
        beats.send(self.heartbeat(session, sequence)).await?;
        let opened = client.heartbeats(ReceiverStream::new(queue)).await;
        let mut replies =
            opened.map_err(|status| self.failed(link, session, &status))?.into_inner();
        let mut ticks = interval(Duration::from_millis(u64::from(session.interval)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.pulse.beat();
                    sequence += 1;
                    // A master that does not take beats gets no more of them queued.
                    let _ = beats.try_send(self.heartbeat(session, sequence));
                }
                reply = replies.next() => match reply {
                    Some(Ok(reply)) => self.replied(link, session, reply)?,
                    Some(Err(status)) => return Err(self.failed(link, session, &status)),
                    None => anyhow::bail!("the master ended the stream"),
                },
            }
        }
    }

    fn failed(&self, link: &Link, session: Session, status: &tonic::Status) -> anyhow::Error {
        let detail = detail_of(status);
        if detail.error_code() == ErrorCode::StaleSession {
            link.stale.send_replace(session.number);
        }
        anyhow::anyhow!("{} ({})", detail.message, detail.error_code())
    }

    fn heartbeat(&self, session: Session, sequence: u64) -> pb::Heartbeat {
        let counts = &self.node.counts;
        pb::Heartbeat {
            session: session.number,
            sequence,
            volumes: self.node.volumes.states(),
            bytes_written: counts.written.load(Ordering::Relaxed),
            bytes_read: counts.read.load(Ordering::Relaxed),
            streams: u32::try_from(counts.streams.load(Ordering::Relaxed)).unwrap_or(0),
            leaving: self.node.leaving.load(Ordering::Relaxed),
        }
    }

    fn replied(
        &self,
        link: &Link,
        session: Session,
        reply: pb::HeartbeatReply,
    ) -> anyhow::Result<()> {
        if reply.stale_session {
            link.stale.send_replace(session.number);
            anyhow::bail!("the master no longer knows the session");
        }
        let node = &self.node;
        // A higher epoch is stored before anything is done under it, which is not done here: until
        // then its leader's word does not count.
        let known = {
            let mut gate = node.gate();
            let known = gate.seen().epoch >= reply.epoch;
            if known && reply.leader {
                gate.heard_leader(reply.epoch, node.clock.now());
            }
            known
        };
        let node = Arc::clone(node);
        if !known {
            self.main.spawn(async move {
                if let Err(error) = node.observe(reply.epoch, reply.commit_sequence).await {
                    tracing::warn!(error = error.message, "an epoch was not taken over");
                }
            });
            return Ok(());
        }
        if reply.epoch == node.gate().seen().epoch {
            // Only counted here; stored now and then.
            let _ = node.gate().observe(reply.epoch, reply.commit_sequence);
        }
        if !reply.left_out.is_empty() && reply.leader {
            self.main.spawn(async move {
                for left_out in reply.left_out {
                    if let Ok(chunk) = node.chunk(left_out.handle).await {
                        node.step(&chunk, Event::LeftOut { version: left_out.version });
                    }
                }
            });
        }
        Ok(())
    }
}

/// Runs futures side by side until all have ended.
async fn join_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
