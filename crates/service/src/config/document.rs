//! A TOML document whose values know where they stand, so that every error names line and column.

use super::keys::Section;
use crate::limits::FILE_BYTES;
use fsmon_format::error::Error;
use std::fmt::Display;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A document: its text, and the name under which errors are about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

/// A table of a document, all of whose keys are known.
#[derive(Debug)]
pub(super) struct Table<'a> {
    document: Document<'a>,
    section: &'static Section,
    entries: &'a DeTable<'a>,
    at: Range<usize>,
}

/// A value, with its key.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    document: Document<'a>,
    /// The key with the tables that it is in: `history.keep.size`.
    key: String,
    at: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Document<'a> {
    /// A document of that name. Nothing is parsed yet.
    ///
    /// # Errors
    /// It is too large.
    pub(crate) fn new(text: &'a str, name: &'a str) -> Result<Self, Error> {
        match text.len() as u64 {
            0..=FILE_BYTES => Ok(Document { name, text }),
            bytes => Err(too_large(name, bytes)),
        }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// It is no TOML.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'a>>, Error> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            self.wrong(&at, error.message().replace('\n', "; "))
        })
    }

    /// An error about what stands at these bytes.
    pub(crate) fn wrong(&self, at: &Range<usize>, what: impl Display) -> Error {
        let (line, column) = self.position(at.start);
        Error::invalid(format!("{}:{line}:{column}: {what}", self.name))
    }

    /// Line and column of a byte, from 1 on; columns count characters.
    fn position(&self, byte: usize) -> (usize, usize) {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[begin..].chars().count() + 1)
    }
}

/// What to say of a file with more bytes than [`FILE_BYTES`].
pub(super) fn too_large(name: &str, bytes: u64) -> Error {
    Error::invalid(format!("{name} has {bytes} bytes; at most {FILE_BYTES} are read"))
}

impl<'a> Table<'a> {
    /// The table at the top of a document.
    ///
    /// # Errors
    /// It has an unknown key.
    pub(super) fn top(
        document: Document<'a>,
        parsed: &'a Spanned<DeTable<'a>>,
        section: &'static Section,
    ) -> Result<Self, Error> {
        Table::new(document, parsed.get_ref(), parsed.span(), section)
    }

    fn new(
        document: Document<'a>,
        entries: &'a DeTable<'a>,
        at: Range<usize>,
        section: &'static Section,
    ) -> Result<Self, Error> {
        let unknown = entries.keys().filter(|key| !section.keys.contains(&key.get_ref().as_ref()));
        // Entries are in the order of their names; the user reads from the top.
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(Table { document, section, entries, at }),
            Some(key) => {
                let word = key.get_ref();
                let (shown, place) = (word.escape_debug(), section.name);
                let remedy = section.remedy(word);
                let what = format!("unknown key `{shown}` in {place}; {remedy}");
                Err(document.wrong(&key.span(), what))
            }
        }
    }

    /// The key of that name, if there is such a key.
    pub(super) fn key(&self, name: &str) -> Option<&'static str> {
        self.section.keys.iter().find(|key| **key == name).copied()
    }

    /// The value of a key, if it is there.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.section.keys.contains(&key), "{key} is a key of {}", self.section.name);
        let (_, value) = self.entries.iter().find(|(known, _)| known.get_ref() == key)?;
        Some(Value {
            document: self.document,
            key: format!("{}{key}", self.section.prefix),
            at: value.span(),
            value: value.get_ref(),
        })
    }

    /// Reads the value of a key, if it is there.
    ///
    /// # Errors
    /// `read` returns one.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.value(key).as_ref().map(read).transpose()
    }

    /// Reads the value of a key; without one it is `default`.
    ///
    /// # Errors
    /// `read` returns one.
    pub(super) fn read_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        Ok(self.read(key, read)?.unwrap_or(default))
    }

    /// An error about the value of a key further down, such as `history.keep.size`, or about the innermost table of it that
    /// is there.
    pub(super) fn wrong_at(&self, key: &str, what: impl Display) -> Error {
        let (at, _) = self.follow(key);
        self.document.wrong(&at, format_args!("`{key}` {what}"))
    }

    /// Whether a key further down is there.
    #[cfg(test)]
    pub(super) fn has(&self, key: &str) -> bool {
        self.follow(key).1
    }

    /// Where the value of a key further down is, and true; or where its innermost table is, and false.
    fn follow(&self, key: &str) -> (Range<usize>, bool) {
        let (mut entries, mut at) = (Some(self.entries), self.at.clone());
        for part in key.split('.') {
            let found = entries.and_then(|all| all.iter().find(|(name, _)| name.get_ref() == part));
            let Some((_, value)) = found else { return (at, false) };
            at = value.span();
            entries = match value.get_ref() {
                DeValue::Table(entries) => Some(entries),
                _ => None,
            };
        }
        (at, true)
    }

    /// An error about the value of a key, or about the table if it has none.
    pub(super) fn wrong(&self, key: &'static str, what: impl Display) -> Error {
        match self.value(key) {
            Some(value) => value.wrong(what),
            None => {
                let prefix = self.section.prefix;
                self.document.wrong(&self.at, format_args!("`{prefix}{key}` {what}"))
            }
        }
    }
}

impl<'a> Value<'a> {
    /// The value itself.
    pub(super) fn get(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// An error about this value: what it is, and what to write instead. The key stands before it.
    pub(super) fn wrong(&self, what: impl Display) -> Error {
        self.document.wrong(&self.at, format_args!("`{}` {what}", self.key))
    }

    /// The error of a value of the wrong type.
    pub(super) fn not(&self, expected: &str) -> Error {
        let is = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format_args!("is {is}; write {expected}"))
    }

    /// The value as a table.
    ///
    /// # Errors
    /// It is none, or has an unknown key.
    pub(super) fn table(&self, section: &'static Section) -> Result<Table<'a>, Error> {
        match self.value {
            DeValue::Table(entries) => Table::new(self.document, entries, self.at.clone(), section),
            _ if section.name.starts_with('[') => {
                Err(self.not(&format!("{} and its keys below", section.name)))
            }
            _ => Err(self.not("a table such as { size = \"64M\" }")),
        }
    }

    /// The elements of a list, at most `most`.
    ///
    /// # Errors
    /// It is no list, or a longer one. `expected` is what to write instead.
    pub(super) fn list(
        &self,
        expected: &str,
        most: usize,
    ) -> Result<impl Iterator<Item = Value<'a>>, Error> {
        let DeValue::Array(array) = self.value else { return Err(self.not(expected)) };
        if array.len() > most {
            let len = array.len();
            return Err(self.wrong(format_args!("has {len} entries; at most {most} can be")));
        }
        let (document, key) = (self.document, self.key.clone());
        Ok(array.iter().map(move |element| Value {
            document,
            key: key.clone(),
            at: element.span(),
            value: element.get_ref(),
        }))
    }
}
