//! What the cluster promised to its clients: the measure for what it keeps.

use std::collections::BTreeMap;

/// A file, as its writer knows it.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Where it is now; `None` while nobody can tell (a rename or removal without answer).
    pub path: Option<String>,
    /// As the master said; 0: not yet.
    pub inode: u64,
    /// Every byte below it was acknowledged to the application.
    pub acknowledged: u64,
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
}

impl Fact {
    /// Every byte below it was acknowledged, and is on a copy that nothing happened to.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.excused.map_or(self.acknowledged, |from| from.min(self.acknowledged))
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
    pub fn create(&mut self, path: String) -> u64 {
        self.minted += 1;
        let fact = Fact {
            path: Some(path),
            inode: 0,
            acknowledged: 0,
            closed: None,
            handed: 0,
            removed: false,
            doubtful: true,
            being_written: true,
            excused: None,
        };
        self.files.insert(self.minted, fact);
        self.minted
    }

    /// A file's entry.
    pub fn file(&mut self, file: u64) -> Option<&mut Fact> {
        self.files.get_mut(&file)
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
