//! A spare never holds memory on servers that its predecessor may be waiting for.

use super::*;

fn chunk(index: u32) -> pb::ChunkLocation {
    let server = pb::ServerLocation { server: 1, ..Default::default() };
    pb::ChunkLocation {
        handle: 5 + u64::from(index),
        version: 1,
        index,
        start: u64::from(index * 4 * BLOCK),
        primary: 1,
        servers: vec![server],
        ..Default::default()
    }
}

struct Pushing {
    writer: FileWriter,
    now: Millis,
    effects: Vec<Effect>,
}

impl Pushing {
    fn step(&mut self, event: Event) {
        self.writer.step(self.now, event, &mut self.effects);
    }

    /// The streams opened since the last call, by chunk, and those closed.
    fn streams(&mut self) -> (Vec<(u64, StreamId)>, Vec<StreamId>) {
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        for effect in self.effects.drain(..) {
            match effect {
                Effect::OpenStream { stream, open, .. } => opened.push((open.handle, stream)),
                Effect::CloseStream { stream } => closed.push(stream),
                _ => {}
            }
        }
        (opened, closed)
    }

    fn opened(&mut self, stream: StreamId) {
        let opened = pb::PushOpened { credit: 64 * BLOCK, ..Default::default() };
        self.step(Event::Stream { stream, event: StreamEvent::Opened(opened) });
    }

    fn refused(&mut self, stream: StreamId, code: ErrorCode) {
        let detail = pb::ErrorDetail { code: code as u32, ..Default::default() };
        self.step(Event::Stream { stream, event: StreamEvent::Failed(detail) });
    }
}

#[test]
fn a_spare_has_a_stream_only_while_the_chunk_before_it_has_one() {
    let config = Config { window: 64 * BLOCK, ..config(Mistakes::default()) };
    let start = Start { inode: 9, writer: 77, length: 0, chunks: 1, last: Some(chunk(0)) };
    let writer = FileWriter::new(config, start, Millis(5)).unwrap();
    let mut it = Pushing { writer, now: Millis(5), effects: Vec::new() };
    for slice in 0..6 {
        it.step(Event::Data { slice: SliceId(slice), length: BLOCK });
    }
    let ask = it.effects.iter().find_map(|effect| match effect {
        Effect::Ask { ask, question: Question::Allocate(_) } => Some(*ask),
        _ => None,
    });
    let (opened, _) = it.streams();
    let [(5, first)] = opened[..] else { panic!("{opened:?}") };
    let answer = Ok(Answer::Chunk(Box::new(chunk(1))));
    it.step(Event::Answer { ask: ask.unwrap(), result: answer });
    assert_eq!(it.streams(), (vec![], vec![]), "the first has no memory yet");
    it.opened(first);
    let (opened, _) = it.streams();
    let [(6, spare)] = opened[..] else { panic!("{opened:?}") };
    it.opened(spare);
    assert!(
        it.effects.iter().any(|e| matches!(e, Effect::Send { stream, .. } if *stream == spare))
    );
    it.effects.clear();

    // The first loses its stream and has to wait for memory: what the spare has is let go of.
    it.refused(first, ErrorCode::Cancelled);
    let (opened, closed) = it.streams();
    assert_eq!(closed, [first, spare]);
    let [(5, mut first)] = opened[..] else { panic!("{opened:?}") };
    // Refused a few times, it gets its stream, and then the spare its own.
    for _ in 0..5 {
        it.refused(first, ErrorCode::NoCredit);
        it.effects.clear();
        it.now = it.writer.wake_at().unwrap().max(it.now);
        it.step(Event::Tick);
        let (opened, _) = it.streams();
        let [(5, again)] = opened[..] else { panic!("{opened:?}") };
        first = again;
    }
    it.opened(first);
    assert!(matches!(it.streams().0[..], [(6, _)]));
}
