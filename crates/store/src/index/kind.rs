//! What an index can be asked for.

/// A sort of key. docs/index.md says which records have which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The last name in a path of an event.
    Name,
    /// A directory above a path of an event. Its postings say which are directly in it.
    Below,
    /// The `comm` of an event's process.
    Comm,
    /// The `exe` of an event's process.
    Exe,
    /// The user of an event's process.
    Uid,
    /// The control group of an event's process.
    Cgroup,
    /// Either path of a directory that was renamed.
    DirRename,
    /// The `object` of a file that got a name, and that its maker may not have made: `ln a b`.
    Link,
    /// LOSS, GAP and NOTE records.
    Trouble,
}

impl Kind {
    /// All kinds that this version writes, in the order of their numbers.
    pub const ALL: [Kind; 9] = [
        Kind::Name,
        Kind::Below,
        Kind::Comm,
        Kind::Exe,
        Kind::Uid,
        Kind::Cgroup,
        Kind::DirRename,
        Kind::Link,
        Kind::Trouble,
    ];

    /// The number in the file.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Kind::Name => 1,
            Kind::Below => 2,
            Kind::Comm => 3,
            Kind::Exe => 4,
            Kind::Uid => 5,
            Kind::Cgroup => 6,
            Kind::DirRename => 7,
            Kind::Link => 8,
            Kind::Trouble => 9,
        }
    }

    /// Its place in [`Kind::ALL`].
    #[must_use]
    pub fn place(self) -> usize {
        usize::from(self.code()) - 1
    }

    /// Bits of a hash beyond log2 of the count of postings: the share of cells that are read in vain is 2 to the minus
    /// that power, for each segment. The names take most of an index, and are asked for together with their
    /// directory.
    #[must_use]
    pub(crate) fn extra_bits(self) -> u32 {
        match self {
            Kind::Name => 8,
            Kind::Below => 14,
            _ => 20,
        }
    }

    /// How many values a posting has for each cell.
    pub(crate) fn values(self) -> u64 {
        if self == Kind::Below { 2 } else { 1 }
    }
}

/// Keys of [`Kind::Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// LOSS
    Loss,
    /// GAP
    Gap,
    /// NOTE
    Note,
}

impl Trouble {
    /// The text that is hashed.
    pub(crate) fn key(self) -> &'static [u8] {
        match self {
            Trouble::Loss => b"LOSS",
            Trouble::Gap => b"GAP",
            Trouble::Note => b"NOTE",
        }
    }
}
