//! What the cluster promised to its clients: the measure for what it keeps.

pub mod records;
pub mod slots;

use crate::content::Layout;
use records::Records;
use slots::Slots;
use std::collections::BTreeMap;

/// What a file contains, by the way in which it is written.
#[derive(Clone, Debug)]
pub enum Content {
    /// From its beginning to its end, by one at a time.
    Written(Layout),
    /// Records that many append.
    Records(Records),
    /// Slots that many overwrite.
    Slots(Slots),
}

/// A file, as its writers know it.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Where it is now; `None` while nobody can tell (a rename or removal without answer).
    pub path: Option<String>,
    /// As the master said; 0: not yet.
    pub inode: u64,
    /// Every byte below it was acknowledged to the application.
    pub acknowledged: u64,
    /// Every byte below it was acknowledged to be on disk.
    pub on_disk: u64,
    /// Length when it was closed. `None`: never, or open again.
    pub closed: Option<u64>,
    /// Bytes that were ever handed in: there can be no more.
    pub handed: u64,
    /// Asked to be removed.
    pub removed: bool,
    /// The answer to a Create, Rename or Remove was never heard: it is there or not.
    pub doubtful: bool,
    /// Its writer is at work.
    pub being_written: bool,
    /// From here on a loss of power took every copy.
    pub excused: Option<u64>,
    /// Grows when it begins to be cut or extended, and when that is done. Who reads it meanwhile may
    /// be given either.
    pub cuts: u32,
    /// What it contains.
    pub content: Content,
}

impl Fact {
    /// Every byte below it was acknowledged, and is on a copy that nothing happened to.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.excused.map_or(self.acknowledged, |from| from.min(self.acknowledged))
    }

    /// Whether it was, or is being, cut or extended since `cuts` was this.
    #[must_use]
    pub const fn was_cut_since(&self, cuts: u32) -> bool {
        self.cuts != cuts || !cuts.is_multiple_of(2)
    }

    /// What is written from its beginning to its end.
    #[must_use]
    pub fn layout(&mut self) -> Option<&mut Layout> {
        match &mut self.content {
            Content::Written(layout) => Some(layout),
            _ => None,
        }
    }

    /// What is appended by many.
    #[must_use]
    pub fn records(&mut self) -> Option<&mut Records> {
        match &mut self.content {
            Content::Records(records) => Some(records),
            _ => None,
        }
    }

    /// What is overwritten by many.
    #[must_use]
    pub fn slots(&mut self) -> Option<&mut Slots> {
        match &mut self.content {
            Content::Slots(slots) => Some(slots),
            _ => None,
        }
    }
}

/// All files ever created, by the number that determines their content.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The files.
    pub files: BTreeMap<u64, Fact>,
    minted: u64,
}

impl Ledger {
    /// A new file under a path.
    pub fn create(&mut self, path: String, content: Content) -> u64 {
        self.minted += 1;
        let fact = Fact {
            path: Some(path),
            inode: 0,
            acknowledged: 0,
            on_disk: 0,
            closed: None,
            handed: 0,
            removed: false,
            doubtful: true,
            being_written: true,
            excused: None,
            cuts: 0,
            content,
        };
        self.files.insert(self.minted, fact);
        self.minted
    }

    /// A file's entry.
    pub fn file(&mut self, file: u64) -> Option<&mut Fact> {
        self.files.get_mut(&file)
    }

    /// The records that are appended to a file.
    pub fn records(&mut self, file: u64) -> Option<&mut Records> {
        self.file(file).and_then(Fact::records)
    }

    /// The slots of a file.
    pub fn slots(&mut self, file: u64) -> Option<&mut Slots> {
        self.file(file).and_then(Fact::slots)
    }

    /// Files that must be there.
    pub fn certain(&self) -> impl Iterator<Item = (u64, &Fact)> {
        let sure = |fact: &Fact| !fact.removed && !fact.doubtful && fact.path.is_some();
        self.files.iter().filter(move |(_, fact)| sure(fact)).map(|(file, fact)| (*file, fact))
    }

    /// Bytes acknowledged in all.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.files.values().map(|fact| fact.acknowledged).sum()
    }
}
