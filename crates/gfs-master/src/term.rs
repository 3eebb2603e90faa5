//! One term of leadership: a loaded brain and all that waits for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use gfs_core::brain::{
    Brain, Effect, Event, Now, Ordinal, Request, Response, SessionId, Token, Usage,
};
use gfs_metastore::{Leadership, MetaStore, Mutation};
use gfs_process::Clock;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::metrics::TermMetrics;

/// Commands that may wait for a session's stream; one more ends the session.
const COMMANDS_PER_SESSION: usize = 4096;

/// How long a call may take before its caller is told that the deadline passed. Clients set
/// shorter deadlines of their own.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// What a call is answered.
pub(crate) type Answer = Result<Box<Response>, Box<pb::ErrorDetail>>;

/// Mutations of one event, waiting to be made durable.
pub(crate) struct Commit {
    pub(crate) ordinal: Ordinal,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) counters: Bytes,
}

/// A leading master. Dropped whole when the term ends: nothing of it outlives the term.
pub(crate) struct Term {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn MetaStore>,
    pub(crate) leadership: Leadership,
    metrics: TermMetrics,
    /// Something waits for the committer.
    pub(crate) queued: Notify,
    over: AtomicBool,
    ended: Notify,
}

struct State {
    brain: Brain,
    last_token: u64,
    waiting: BTreeMap<Token, oneshot::Sender<Answer>>,
    sessions: HashMap<SessionId, mpsc::Sender<pb::Command>>,
    commits: VecDeque<Commit>,
    /// Reused from event to event.
    effects: Vec<Effect>,
}

/// What an event brought for the one who reported it.
#[derive(Default)]
struct Own {
    token: Option<Token>,
    answer: Option<Answer>,
    beat: Option<pb::HeartbeatReply>,
}

impl Term {
    pub(crate) fn new(
        brain: Brain,
        first: Vec<Effect>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn MetaStore>,
        leadership: Leadership,
        metrics: TermMetrics,
    ) -> Self {
        let term = Self {
            state: Mutex::new(State {
                brain,
                last_token: 0,
                waiting: BTreeMap::new(),
                sessions: HashMap::new(),
                commits: VecDeque::new(),
                effects: Vec::new(),
            }),
            clock,
            store,
            leadership,
            metrics,
            queued: Notify::new(),
            over: AtomicBool::new(false),
            ended: Notify::new(),
        };
        if let Some(mut state) = term.lock() {
            for effect in first {
                term.carry_out(&mut state, effect, &mut Own::default());
            }
        }
        term
    }

    /// What the cluster looks like now, for metrics.
    pub(crate) async fn status(&self) -> Option<pb::StatusResponse> {
        let cluster_id = self.lock()?.brain.cluster_id().to_bytes().to_vec().into();
        let header = pb::RequestHeader { cluster_id, ..pb::RequestHeader::default() };
        let request = pb::StatusRequest { header: Some(header) };
        match self.call(Request::Status(request)).await.map(|response| *response) {
            Ok(Response::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// How far its limits are used; `None`: it is over.
    pub(crate) fn usage(&self) -> Option<[Usage; 6]> {
        self.lock().map(|state| state.brain.usage())
    }

    /// A call of a client or administrator. Dropping the future gives up waiting, not the call.
    pub(crate) async fn call(&self, request: Request) -> Answer {
        self.ask(|token| Event::Call { token, request }).await
    }

    /// A chunkserver registers.
    pub(crate) async fn register(&self, request: pb::RegisterRequest) -> Answer {
        self.ask(|token| Event::Register { token, request }).await
    }

    /// A page of a chunkserver's report.
    pub(crate) async fn report(&self, page: pb::ReportRequest) -> Answer {
        self.ask(|token| Event::Report { token, page }).await
    }

    /// A heartbeat, answered at once. `None`: the term is over.
    pub(crate) fn heartbeat(&self, beat: pb::Heartbeat) -> Option<pb::HeartbeatReply> {
        let session = SessionId(beat.session);
        let mut own = Own::default();
        self.step(Event::Heartbeat { session, beat }, &mut own);
        own.beat
    }

    /// The stream of commands of a session stands. What is sent to it comes out of the receiver.
    pub(crate) fn open_commands(&self, session: SessionId) -> mpsc::Receiver<pb::Command> {
        let (sender, receiver) = mpsc::channel(COMMANDS_PER_SESSION);
        if let Some(mut state) = self.lock() {
            state.sessions.insert(session, sender);
            self.run(&mut state, Event::CommandsOpen { session }, &mut Own::default());
        }
        receiver
    }

    /// Anything that nobody waits for.
    pub(crate) fn tell(&self, event: Event) {
        self.step(event, &mut Own::default());
    }

    /// What queued for the committer, oldest first.
    pub(crate) fn take_commits(&self) -> VecDeque<Commit> {
        self.lock().map(|mut state| std::mem::take(&mut state.commits)).unwrap_or_default()
    }

    /// Ends the term: nothing more is answered, everything that waits is told to ask again.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        if let Ok(mut state) = self.state.lock() {
            state.waiting.clear();
            state.sessions.clear();
        }
        self.queued.notify_one();
        self.ended.notify_waiters();
    }

    /// Completes when the term is over.
    pub(crate) async fn over(&self) {
        loop {
            let ended = self.ended.notified();
            if self.is_over() {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    async fn ask(&self, event: impl FnOnce(Token) -> Event) -> Answer {
        let begun = self.clock.now();
        let (token, receiver) = {
            let Some(mut state) = self.lock() else { return Err(term_over()) };
            state.last_token += 1;
            let token = Token(state.last_token);
            let mut own = Own { token: Some(token), ..Own::default() };
            self.run(&mut state, event(token), &mut own);
            if let Some(answer) = own.answer {
                self.metrics.answered(begun, self.clock.now(), &answer);
                return answer;
            }
            if self.is_over() {
                return Err(term_over());
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(token, sender);
            (token, receiver)
        };
        let forget = Forget { term: self, token };
        let answer = match tokio::time::timeout(LONGEST_CALL, receiver).await {
            Ok(Ok(answer)) => {
                std::mem::forget(forget);
                answer
            }
            Ok(Err(_)) => Err(term_over()),
            Err(_) => Err(Box::new(pb::ErrorDetail::new(
                ErrorCode::DeadlineExceeded,
                "the master did not finish in time; the operation may still take effect: ask again \
                 with the same sequence",
            ))),
        };
        self.metrics.answered(begun, self.clock.now(), &answer);
        answer
    }

    fn step(&self, event: Event, own: &mut Own) {
        if let Some(mut state) = self.lock() {
            self.run(&mut state, event, own);
        }
    }

    /// One event, and everything that follows from it. Nothing in here waits.
    fn run(&self, state: &mut State, event: Event, own: &mut Own) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Now { mono: self.clock.now(), wall: self.clock.wall() };
            let mut effects = std::mem::take(&mut state.effects);
            state.brain.step(now, event, &mut effects);
            if !effects.is_empty() && !self.store.tenure(&self.leadership).holds() {
                tracing::warn!("the lease may be over: this term ends");
                self.over.store(true, Ordering::SeqCst);
                state.waiting.clear();
                state.sessions.clear();
                self.ended.notify_waiters();
                self.queued.notify_one();
                return;
            }
            for effect in effects.drain(..) {
                if let Some(broken) = self.carry_out(state, effect, own) {
                    events.push_back(Event::SessionBroken { session: broken });
                }
            }
            state.effects = effects;
        }
    }

    /// Returns a session that turned out to be broken.
    fn carry_out(&self, state: &mut State, effect: Effect, own: &mut Own) -> Option<SessionId> {
        match effect {
            Effect::Commit { ordinal, mutations, counters } => {
                state.commits.push_back(Commit { ordinal, mutations, counters });
                self.queued.notify_one();
            }
            Effect::Reply { token, result } => {
                if own.token == Some(token) {
                    own.answer = Some(result);
                } else if let Some(waiting) = state.waiting.remove(&token) {
                    // Nobody may wait any more: the call was forgotten meanwhile.
                    let _ = waiting.send(result);
                }
            }
            Effect::Send { session, command } => {
                if let Some(sender) = state.sessions.get(&session)
                    && sender.try_send(*command).is_err()
                {
                    state.sessions.remove(&session);
                    return Some(session);
                }
            }
            Effect::Beat { reply, .. } => own.beat = Some(reply),
            Effect::EndSession { session } => {
                state.sessions.remove(&session);
            }
            Effect::Note { severe: true, text } => tracing::error!("{text}"),
            Effect::Note { severe: false, text } => tracing::info!("{text}"),
        }
        None
    }

    /// The state, unless the term is over. A panic inside the brain leaves it in no known state:
    /// the term ends with it.
    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        if self.is_over() {
            return None;
        }
        match self.state.lock() {
            Ok(state) => Some(state),
            Err(_) => {
                self.over.store(true, Ordering::SeqCst);
                self.ended.notify_waiters();
                self.queued.notify_one();
                None
            }
        }
    }
}

/// The caller went away, or its deadline passed, before the answer came.
struct Forget<'a> {
    term: &'a Term,
    token: Token,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(mut state) = self.term.lock() {
            state.waiting.remove(&self.token);
            self.term.run(&mut state, Event::Forget { token: self.token }, &mut Own::default());
        }
    }
}

fn term_over() -> Box<pb::ErrorDetail> {
    Box::new(pb::ErrorDetail::new(
        ErrorCode::NotReady,
        "this master's term of leadership ended; ask again",
    ))
}
