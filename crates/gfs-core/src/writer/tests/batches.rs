//! When a writer tells the primary to apply what it sent.

use super::*;

/// A writer at the beginning of a chunk whose stream is open.
struct Streaming {
    writer: FileWriter,
    stream: StreamId,
    slices: u64,
    effects: Vec<Effect>,
}

impl Streaming {
    fn new() -> Self {
        let server = pb::ServerLocation { server: 1, ..Default::default() };
        let last = pb::ChunkLocation {
            handle: 5,
            version: 1,
            servers: vec![server],
            primary: 1,
            ..Default::default()
        };
        let start = Start { inode: 9, writer: 77, length: 0, chunks: 1, last: Some(last) };
        let config = Config { chunk_size: 64 * BLOCK, window: 64 * BLOCK, ..Config::default() };
        let config = Config { max_slice: BLOCK, ..config };
        let writer = FileWriter::new(config, start, Millis(0)).expect("a sound start");
        let mut it = Self { writer, stream: StreamId(0), slices: 0, effects: Vec::new() };
        it.data(1);
        let opened = it.effects.iter().find_map(|effect| match effect {
            Effect::OpenStream { stream, .. } => Some(*stream),
            _ => None,
        });
        it.stream = opened.expect("data wants a stream");
        it
    }

    fn open(&mut self) {
        let opened = pb::PushOpened { credit: 64 * BLOCK, ..Default::default() };
        self.heard(StreamEvent::Opened(opened));
    }

    fn step(&mut self, event: Event) {
        self.writer.step(Millis(0), event, &mut self.effects);
    }

    fn heard(&mut self, event: StreamEvent) {
        self.step(Event::Stream { stream: self.stream, event });
    }

    fn data(&mut self, count: u64) {
        for _ in 0..count {
            self.slices += 1;
            self.step(Event::Data { slice: SliceId(self.slices), length: BLOCK });
        }
    }

    fn acknowledge(&mut self, through: u64) {
        let length = through as u32 * BLOCK;
        self.heard(StreamEvent::Acknowledged(pb::Acknowledged {
            through,
            length,
            ..Default::default()
        }));
    }

    /// Sequences through which a commit was sent since the last call, with a slice or by itself.
    fn committed(&mut self) -> Vec<u64> {
        let commits = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Send { head, .. } => head.commit.then_some(head.sequence),
            Effect::SendCommit { through, .. } => Some(through),
            _ => None,
        });
        commits.collect()
    }
}

#[test]
fn the_first_is_committed_at_once_and_more_in_batches() {
    let mut it = Streaming::new();
    it.open();
    assert_eq!(it.committed(), [1]);
    it.data(9);
    assert_eq!(it.committed(), [5, 9]);
    it.acknowledge(5);
    assert!(it.committed().is_empty(), "what is committed is under way");
    it.acknowledge(9);
    assert_eq!(it.committed(), [10], "nothing is: no reason to wait");
}

#[test]
fn a_flush_commits_everything() {
    let mut it = Streaming::new();
    it.open();
    it.data(2);
    assert_eq!(it.committed(), [1]);
    it.step(Event::Flush { token: Token(1), disk: false });
    assert_eq!(it.committed(), [3]);
    it.data(1);
    assert_eq!(it.committed(), [4], "as long as it waits");
}

#[test]
fn the_end_of_a_chunk_is_committed() {
    let mut it = Streaming::new();
    it.open();
    it.data(63);
    assert_eq!(it.committed().last(), Some(&64));
}
