//! A master in miniature: registers servers, answers their heartbeats, and sends the commands that
//! a test says.

use gfs_proto::v1 as pb;
use gfs_transport::{Config, Server, tcp_incoming};
use gfs_types::ClusterId;
use pb::rpc::session_server::{Session, SessionServer};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
/// Bytes of a full chunk: small, so that tests fill one.
pub(crate) const CHUNK: u32 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
struct State {
    numbers: BTreeMap<Vec<u8>, u32>,
    /// By session.
    servers: BTreeMap<u64, u32>,
    /// By server.
    addresses: BTreeMap<u32, Vec<String>>,
    commands: BTreeMap<u32, mpsc::Sender<Result<pb::Command, Status>>>,
    results: BTreeMap<u64, pb::CommandResult>,
    notices: Vec<(u32, pb::Notice)>,
    reports: BTreeMap<u32, Vec<pb::ReplicaState>>,
    /// Of the last registration, by server.
    boot_ids: BTreeMap<u32, Vec<u8>>,
    beats: BTreeMap<u32, pb::Heartbeat>,
    left_out: Vec<pb::LeftOut>,
    last_id: u64,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Master {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    /// Whether heartbeats are answered as the leader.
    pub(crate) leads: watch::Sender<bool>,
    pub(crate) epoch: watch::Sender<u64>,
    /// In milliseconds, told at registration.
    pub(crate) read_limit: watch::Sender<u32>,
    pub(crate) address: String,
}

impl Master {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let master = Self {
            state: Arc::default(),
            changed: watch::channel(0).0,
            leads: watch::channel(true).0,
            epoch: watch::channel(3).0,
            read_limit: watch::channel(10_000).0,
            address: listener.local_addr().unwrap().to_string(),
        };
        let routes = Routes::new(SessionServer::new(master.clone()));
        let server = Server::new(Config::default()).control(routes);
        tokio::spawn(async move {
            server.serve(tcp_incoming(listener), std::future::pending()).await;
        });
        master
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Waits until something can be found in what was heard.
    async fn until<T>(&self, what: &str, mut find: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = find(&mut self.state.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    pub(crate) fn location(&self, server: u32) -> pb::ServerLocation {
        let addresses = self.state.lock().unwrap().addresses.get(&server).cloned().unwrap();
        pb::ServerLocation { server, addresses, ..Default::default() }
    }

    pub(crate) fn locations(&self, servers: &[u32]) -> Vec<pb::ServerLocation> {
        servers.iter().map(|server| self.location(*server)).collect()
    }

    /// Waits until a server takes commands.
    pub(crate) async fn registered(&self, server: u32) {
        self.until("registration", |state| {
            (state.commands.contains_key(&server) && state.reports.contains_key(&server))
                .then_some(())
        })
        .await;
    }

    /// The boot id with which a server registered last.
    pub(crate) fn boot_id(&self, server: u32) -> Vec<u8> {
        self.change(|state| state.boot_ids.get(&server).cloned().unwrap())
    }

    /// Sends a command under an epoch, and does not wait.
    pub(crate) async fn send_under(
        &self,
        epoch: u64,
        server: u32,
        handle: u64,
        body: pb::command::Body,
    ) -> u64 {
        let (id, queue) = self.change(|state| {
            state.last_id += 1;
            (state.last_id, state.commands.get(&server).cloned().unwrap())
        });
        let command = pb::Command { id, epoch, handle, body: Some(body) };
        queue.send(Ok(command)).await.unwrap();
        id
    }

    pub(crate) async fn send(&self, server: u32, handle: u64, body: pb::command::Body) -> u64 {
        let epoch = *self.epoch.borrow();
        self.send_under(epoch, server, handle, body).await
    }

    pub(crate) async fn result(&self, id: u64) -> pb::CommandResult {
        self.until("result", |state| state.results.remove(&id)).await
    }

    /// Sends a command and waits for its result.
    pub(crate) async fn command(
        &self,
        server: u32,
        handle: u64,
        body: pb::command::Body,
    ) -> pb::CommandResult {
        let id = self.send(server, handle, body).await;
        self.result(id).await
    }

    /// The same, for one that must succeed.
    pub(crate) async fn done(
        &self,
        server: u32,
        handle: u64,
        body: pb::command::Body,
    ) -> pb::ReplicaState {
        let result = self.command(server, handle, body).await;
        assert_eq!(result.error, None);
        result.state.unwrap()
    }

    /// Grants a version of a chunk to its members, the primary first.
    pub(crate) async fn grant(&self, handle: u64, version: u64, servers: &[u32], length: u32) {
        let mut ids = Vec::new();
        for server in servers {
            ids.push(self.send(*server, handle, self.grant_body(version, servers, length)).await);
        }
        for id in ids {
            assert_eq!(self.result(id).await.error, None);
        }
    }

    pub(crate) fn grant_body(
        &self,
        version: u64,
        servers: &[u32],
        length: u32,
    ) -> pb::command::Body {
        pb::command::Body::Grant(pb::Grant {
            version,
            members: self.locations(servers),
            lease: true,
            inode: 7,
            length,
            min_copies: 1,
            ..Default::default()
        })
    }

    /// Waits for a notice.
    pub(crate) async fn notice(&self, handle: u64) -> (u32, pb::notice::Body) {
        self.until("notice", |state| {
            let at = state.notices.iter().position(|(_, notice)| notice.handle == handle)?;
            let (server, notice) = state.notices.remove(at);
            Some((server, notice.body?))
        })
        .await
    }

    /// What a server reported last.
    pub(crate) fn report(&self, server: u32) -> Vec<pb::ReplicaState> {
        self.state.lock().unwrap().reports.get(&server).cloned().unwrap_or_default()
    }

    /// Waits until a server has reported so.
    pub(crate) async fn reported(
        &self,
        server: u32,
        is: impl Fn(&[pb::ReplicaState]) -> bool,
    ) -> Vec<pb::ReplicaState> {
        self.until("report", |state| state.reports.get(&server).filter(|all| is(all)).cloned())
            .await
    }

    /// Waits for a beat that is so.
    pub(crate) async fn beat(&self, server: u32, is: impl Fn(&pb::Heartbeat) -> bool) {
        self.until("beat", |state| state.beats.get(&server).filter(|beat| is(beat)).map(|_| ()))
            .await;
    }

    /// Tells servers that they are left out.
    pub(crate) fn leave_out(&self, handle: u64, version: u64) {
        self.change(|state| state.left_out.push(pb::LeftOut { handle, version }));
    }

    /// Forgets everything, as a new master would.
    pub(crate) fn restart(&self) {
        self.change(|state| {
            state.servers.clear();
            state.commands.clear();
            state.reports.clear();
        });
    }
}

#[tonic::async_trait]
impl Session for Master {
    type HeartbeatsStream = Streamed<pb::HeartbeatReply>;
    type CommandsStream = Streamed<pb::Command>;

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let request = request.into_inner();
        let (server, session) = self.change(|state| {
            let next = state.numbers.len() as u32 + 1;
            let server = *state.numbers.entry(request.server_uuid.to_vec()).or_insert(next);
            state.last_id += 1;
            let session = state.last_id;
            state.servers.insert(session, server);
            state.commands.remove(&server);
            state.reports.remove(&server);
            state.addresses.insert(server, request.addresses);
            state.boot_ids.insert(server, request.boot_id.to_vec());
            (server, session)
        });
        Ok(Response::new(pb::RegisterResponse {
            cluster_id: CLUSTER.to_bytes().to_vec().into(),
            server,
            session,
            epoch: *self.epoch.borrow(),
            commit_sequence: 1,
            heartbeat_ms: 50,
            stale_read_limit_ms: *self.read_limit.borrow(),
            chunk_size: CHUNK,
            leader: true,
        }))
    }

    async fn heartbeats(
        &self,
        request: Request<Streaming<pb::Heartbeat>>,
    ) -> Result<Response<Self::HeartbeatsStream>, Status> {
        let mut beats = request.into_inner();
        let (to, replies) = mpsc::channel(16);
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(beat)) = beats.next().await {
                let (known, left_out) = this.change(|state| {
                    let server = state.servers.get(&beat.session).copied();
                    if let Some(server) = server {
                        state.beats.insert(server, beat.clone());
                    }
                    (server.is_some(), state.left_out.clone())
                });
                let reply = pb::HeartbeatReply {
                    sequence: beat.sequence,
                    epoch: *this.epoch.borrow(),
                    commit_sequence: 1,
                    leader: *this.leads.borrow(),
                    stale_session: !known,
                    left_out,
                };
                if to.send(Ok(reply)).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }

    async fn commands(
        &self,
        request: Request<Streaming<pb::ServerMessage>>,
    ) -> Result<Response<Self::CommandsStream>, Status> {
        use pb::server_message::Body;
        let mut messages = request.into_inner();
        let hello = messages.next().await.transpose()?.and_then(|message| message.body);
        let Some(Body::Hello(hello)) = hello else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (to, commands) = mpsc::channel(64);
        let server = self.change(|state| {
            let server = *state.servers.get(&hello.session)?;
            state.commands.insert(server, to);
            Some(server)
        });
        let Some(server) = server else { return Err(Status::not_found("session")) };
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                this.change(|state| match message.body {
                    Some(Body::Result(result)) => {
                        state.results.insert(result.id, result);
                    }
                    Some(Body::Notice(notice)) => state.notices.push((server, notice)),
                    _ => {}
                });
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(commands))))
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportResponse>, Status> {
        let page = request.into_inner();
        self.change(|state| {
            let server = state.servers.get(&page.session).copied().unwrap_or(0);
            let all = state.reports.entry(server).or_default();
            if page.page == 0 {
                all.clear();
            }
            all.extend(page.replicas);
        });
        Ok(Response::new(pb::ReportResponse { epoch: *self.epoch.borrow() }))
    }
}
