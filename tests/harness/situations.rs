//! Situations in which the kernel merges events, or in which one process is quicker than its events are read: what it
//! does, as data. `tests/e2e/merged.rs` runs them on the real kernel, and the engine's simulator on its model, so that the
//! model is held to the same.

/// One thing that the process does. Paths are below the watched directory; `../out` is beside it.
#[derive(Clone, Copy, Debug)]
pub enum Do {
    /// An empty file.
    Make(&'static str),
    /// A directory.
    Mkdir(&'static str),
    /// From a name to another, as rename(2).
    Rename(&'static str, &'static str),
    /// Of two names, as renameat2(2) with RENAME_EXCHANGE.
    Exchange(&'static str, &'static str),
    /// Another name, the second, of the first.
    Link(&'static str, &'static str),
    /// A file, or an empty directory.
    Remove(&'static str),
    /// The queue is seen empty: what follows is merged with nothing of before. Nothing outside says when that is, so this
    /// takes longer than any batch window of these tests.
    Pause,
}

use Do::{Exchange, Link, Make, Mkdir, Pause, Remove, Rename};

/// What is there before.
pub const START: &[Do] = &[
    Mkdir("d1"),
    Mkdir("d1/s"),
    Mkdir("d2"),
    Mkdir("d2/s"),
    Mkdir("../out/in"),
    Mkdir("../out/in/sub"),
    Make("f1"),
    Make("f2"),
    Link("f2", "f3"),
    Make("d1/a"),
    Make("d1/s/b"),
    Make("d2/c"),
    Make("d2/s/d"),
    Make("../out/in/f"),
    Make("../out/in/g"),
    Make("../out/in/sub/q"),
];

/// A situation: its name, and what is done.
pub type Situation = (&'static str, &'static [Do]);

/// All of them, each from [`START`].
pub const SITUATIONS: &[Situation] = &[
    (
        "a file renamed back and forth",
        &[Make("a"), Rename("a", "b"), Rename("b", "a"), Rename("a", "b")],
    ),
    (
        "a file renamed round three names",
        &[
            Rename("f1", "x"),
            Rename("x", "y"),
            Rename("y", "f1"),
            Rename("f1", "x"),
            Rename("x", "y"),
        ],
    ),
    (
        "a directory renamed round three names",
        &[
            Rename("d1", "x"),
            Rename("x", "y"),
            Rename("y", "d1"),
            Rename("d1", "x"),
            Make("x/late"),
        ],
    ),
    (
        "a file renamed away and back and removed",
        &[Make("n"), Rename("n", "m"), Rename("m", "n"), Remove("n")],
    ),
    ("two files exchanged", &[Exchange("f1", "f2")]),
    ("two directories exchanged", &[Exchange("d1", "d2"), Make("d1/new"), Make("d2/s/new")]),
    ("a directory and a file exchanged", &[Exchange("d1", "f1"), Make("f1/new")]),
    ("a directory and a file exchanged, in others", &[Exchange("d1/s", "d2/c")]),
    ("two directories exchanged twice", &[Exchange("d1", "d2"), Exchange("d1", "d2")]),
    (
        "two directories exchanged three times",
        &[Exchange("d1", "d2"), Exchange("d1", "d2"), Exchange("d1", "d2")],
    ),
    (
        "a file and a directory exchanged three times",
        &[Exchange("f1", "d2"), Exchange("f1", "d2"), Exchange("f1", "d2")],
    ),
    (
        "renames that look like an exchange, of a file made again",
        &[Rename("f1", "x"), Remove("x"), Make("x"), Rename("x", "f1")],
    ),
    (
        "renames that look like an exchange, over another file",
        &[Rename("f1", "x"), Rename("f2", "x"), Rename("x", "f1")],
    ),
    (
        "renames that look like an exchange, of directories",
        &[Mkdir("e"), Rename("e", "n"), Remove("n"), Mkdir("n"), Rename("n", "e")],
    ),
    (
        "another file comes to a name and goes back to the first",
        &[Rename("f1", "n"), Pause, Rename("f2", "n"), Rename("n", "f1"), Make("n")],
    ),
    (
        "a directory made and removed with all that was in it, and made again",
        &[
            Mkdir("t"),
            Make("t/x"),
            Mkdir("t/y"),
            Make("t/y/z"),
            Remove("t/y/z"),
            Remove("t/y"),
            Remove("t/x"),
            Remove("t"),
            Mkdir("t"),
            Make("t/x"),
        ],
    ),
    (
        "a directory made, renamed and removed",
        &[
            Mkdir("t"),
            Rename("t", "u"),
            Make("u/x"),
            Rename("u", "t"),
            Remove("t/x"),
            Remove("t"),
            Rename("d1", "t"),
        ],
    ),
    (
        "what comes in changes at once",
        &[
            Rename("../out/in", "in"),
            Remove("in/g"),
            Make("in/h"),
            Rename("in/f", "in/f2"),
            Mkdir("in/k"),
            Make("in/k/1"),
        ],
    ),
    (
        "what comes in moves at once",
        &[
            Rename("../out/in", "in"),
            Rename("in", "in2"),
            Remove("in2/g"),
            Rename("in2/sub", "sub"),
            Remove("sub/q"),
        ],
    ),
    (
        "out and in again and again",
        &[
            Rename("d1", "../out/d1"),
            Rename("../out/d1", "d1"),
            Rename("d1", "../out/d1"),
            Rename("../out/d1", "d1"),
            Rename("d1", "../out/d1"),
            Rename("../out/d1", "d1"),
            Make("d1/back"),
        ],
    ),
    ("a file exchanged with one outside", &[Exchange("f1", "../out/in/f")]),
    ("a directory exchanged with one outside", &[Exchange("d1", "../out/in/sub")]),
    ("a file exchanged with a directory outside", &[Exchange("f1", "../out/in/sub")]),
    ("a directory exchanged with a file outside", &[Exchange("../out/in/f", "d1")]),
    (
        "a file that leaves by a link between two renames",
        &[Rename("f1", "n"), Link("n", "f1"), Remove("n"), Rename("f1", "n")],
    ),
    ("a link made and removed and made again", &[Link("f1", "n"), Remove("n"), Link("f1", "n")]),
    (
        "a link removed and made again in two batches",
        &[Link("f1", "n"), Pause, Remove("n"), Link("f1", "n")],
    ),
    (
        "one of several links removed and made again",
        &[
            Make("n"),
            Pause,
            Link("n", "n0"),
            Link("n", "n1"),
            Link("n", "n2"),
            Remove("n"),
            Link("n0", "n"),
        ],
    ),
    (
        "a link at the name that a file was renamed from",
        &[Make("n"), Rename("n", "m"), Link("m", "n"), Rename("n", "k")],
    ),
];
