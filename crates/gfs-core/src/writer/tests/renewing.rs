//! Writers that do nothing for long: they keep their right, and hold no stream for it.

use super::*;

/// A writer or an appender, with what it wants done.
struct Idler<M> {
    machine: M,
    now: Millis,
    effects: Vec<Effect>,
}

trait Machine {
    fn take(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>);
    fn wake(&self) -> Option<Millis>;
    fn error(&self) -> Option<ErrorCode>;
}

impl Machine for FileWriter {
    fn take(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        self.step(now, event, effects);
    }
    fn wake(&self) -> Option<Millis> {
        self.wake_at()
    }
    fn error(&self) -> Option<ErrorCode> {
        self.failure().map(|error| error.code)
    }
}

impl Machine for FileAppender {
    fn take(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        self.step(now, event, effects);
    }
    fn wake(&self) -> Option<Millis> {
        self.wake_at()
    }
    fn error(&self) -> Option<ErrorCode> {
        self.failure().map(|error| error.code)
    }
}

fn start() -> Start {
    let server = pb::ServerLocation { server: 1, ..Default::default() };
    let last = pb::ChunkLocation {
        handle: 5,
        version: 1,
        primary: 1,
        servers: vec![server],
        ..Default::default()
    };
    Start { inode: 9, writer: 77, length: 0, chunks: 1, last: Some(last) }
}

impl Idler<FileWriter> {
    fn writer() -> Self {
        let (now, config) = (Millis(5), config(Mistakes::default()));
        let machine = FileWriter::new(config, start(), now).unwrap();
        Self { machine, now, effects: Vec::new() }
    }
}

impl Idler<FileAppender> {
    fn appender() -> Self {
        let (now, config) = (Millis(5), config(Mistakes::default()));
        let machine = FileAppender::new(config, start(), now).unwrap();
        Self { machine, now, effects: Vec::new() }
    }
}

impl<M: Machine> Idler<M> {
    fn step(&mut self, event: Event) {
        self.machine.take(self.now, event, &mut self.effects);
    }

    /// Time passes until something is due.
    fn doze(&mut self) -> Millis {
        let since = self.now;
        self.now = self.machine.wake().expect("something is due");
        self.step(Event::Tick);
        Millis(self.now.since(since).0)
    }

    fn renewal(&mut self) -> (AskId, bool) {
        match self.effects.pop() {
            Some(Effect::Ask { ask, question: Question::Sync(sync) }) => {
                assert_eq!((sync.inode, sync.last), (9, None));
                (ask, sync.idle)
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, ask: AskId, code: Option<ErrorCode>) {
        let result = match code {
            None => Ok(Answer::Attributes(Box::default())),
            Some(code) => Err(pb::ErrorDetail { code: code as u32, ..Default::default() }),
        };
        self.step(Event::Answer { ask, result });
    }

    /// The stream it opens, and how much it says that it needs.
    fn opens(&mut self) -> (StreamId, u32) {
        let at = self.effects.iter().position(|e| matches!(e, Effect::OpenStream { .. }));
        match at.map(|at| self.effects.swap_remove(at)) {
            Some(Effect::OpenStream { stream, open, .. }) => (stream, open.need),
            _ => panic!("no stream among {:?}", self.effects),
        }
    }

    fn opened(&mut self, stream: StreamId, credit: u32) {
        let opened = pb::PushOpened { credit, ..Default::default() };
        self.step(Event::Stream { stream, event: StreamEvent::Opened(opened) });
    }

    fn fail(&mut self, stream: StreamId, code: ErrorCode) {
        let detail = pb::ErrorDetail { code: code as u32, ..Default::default() };
        self.step(Event::Stream { stream, event: StreamEvent::Failed(detail) });
    }

    /// Calls again and again, whatever the answer, until the right is lost.
    fn renews(&mut self) {
        for _ in 0..3 {
            assert_eq!(self.doze(), Millis(20_000));
            let (ask, idle) = self.renewal();
            assert!(idle && self.machine.wake().is_none(), "one call at a time");
            self.answer(ask, None);
        }
        self.doze();
        let (ask, _) = self.renewal();
        self.answer(ask, Some(ErrorCode::Unavailable));
        assert_eq!(self.doze(), Millis(1_000), "no answer counts for nothing");
        let (ask, _) = self.renewal();
        self.answer(ask, Some(ErrorCode::Conflict));
        assert_eq!(self.machine.error(), Some(ErrorCode::Conflict));
        assert!(self.machine.wake().is_none());
    }
}

#[test]
fn an_idle_writer_renews_its_right() {
    let mut idler = Idler::writer();
    idler.step(Event::Tick);
    assert!(idler.effects.is_empty(), "it has no stream");
    idler.renews();
}

#[test]
fn an_idle_appender_shows_itself_once_and_then_renews_its_right() {
    let mut idler = Idler::appender();
    idler.step(Event::Tick);
    let (stream, need) = idler.opens();
    assert_eq!(need, 0);
    idler.opened(stream, 1 << 20);
    // The primary wants the memory back.
    idler.fail(stream, ErrorCode::Cancelled);
    idler.effects.clear();
    idler.step(Event::Tick);
    assert!(idler.effects.is_empty(), "{:?}", idler.effects);
    idler.renews();
}

#[test]
fn an_appender_without_a_stream_opens_one_for_what_it_has_to_say() {
    let mut idler = Idler::appender();
    idler.step(Event::Tick);
    let (stream, _) = idler.opens();
    idler.opened(stream, 1 << 20);
    idler.fail(stream, ErrorCode::Cancelled);
    idler.step(Event::Data { slice: SliceId(1), length: 1_000 });
    let (stream, need) = idler.opens();
    assert_eq!(need, 1_000);
    idler.effects.clear();
    idler.opened(stream, 2_000);
    assert!(idler.effects.iter().any(|e| matches!(e, Effect::Send { .. })));
    // What does not fit into the stream waits for the end of what is under way on it, and then for
    // one that it fits into.
    idler.effects.clear();
    idler.step(Event::Data { slice: SliceId(2), length: 30_000 });
    assert!(!idler.effects.iter().any(|e| matches!(e, Effect::Send { .. })));
    let ack = pb::Acknowledged { through: 1, length: 1_000, offsets: vec![0] };
    idler.step(Event::Stream { stream, event: StreamEvent::Acknowledged(ack) });
    let closed = |e: &Effect| matches!(e, Effect::CloseStream { stream: s } if *s == stream);
    assert!(idler.effects.iter().any(closed), "{:?}", idler.effects);
    idler.step(Event::Tick);
    assert_eq!(idler.opens().1, 30_000);
    // A call says that it is not idle.
    idler.now = idler.now + Millis(20_000);
    idler.step(Event::Tick);
    let renewal = idler.effects.iter().find_map(|effect| match effect {
        Effect::Ask { question: Question::Sync(sync), .. } => Some(sync.idle),
        _ => None,
    });
    assert_eq!(renewal, Some(false));
}
