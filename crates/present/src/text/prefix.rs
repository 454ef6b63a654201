//! Paths: the cached, escaped path of the directory, followed by the name.

use super::Place;
use super::escape::{Style, escape};
use super::pieces::{Piece, Pieces};
use crate::world::Change;
use fsmon_format::mirror::Mirror;
use std::marker::PhantomData;

/// Writes paths in one style.
pub struct Paths<S> {
    /// Paths of directories with a slash at the end, and whether the text is exact.
    prefixes: Pieces<bool>,
    raw: Vec<u8>,
    rendered: Vec<u8>,
    style: PhantomData<S>,
}

impl<S> Default for Paths<S> {
    fn default() -> Self {
        let (raw, rendered) = (Vec::with_capacity(1 << 13), Vec::with_capacity(1 << 15));
        Paths { prefixes: Pieces::default(), raw, rendered, style: PhantomData }
    }
}

impl<S: Style> Paths<S> {
    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Dir(id) => self.prefixes.forget(id),
            Change::Renamed(_) | Change::Everything => self.prefixes.forget_all(),
            Change::Nothing | Change::Proc(_) | Change::Str(_) => {}
        }
    }

    /// Appends `before` and the path. Returns whether the text is exact, or `None`, with nothing appended, if
    /// the path is not known.
    #[inline]
    pub fn append(
        &mut self,
        mirror: &Mirror,
        place: Place<'_>,
        before: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        let (prefix, exact) = self.prefix(mirror, place.dir)?;
        out.extend_from_slice(before);
        if place.name.is_empty() && prefix.len() > 1 {
            out.extend_from_slice(&prefix[..prefix.len() - 1]);
            return Some(exact);
        }
        out.extend_from_slice(prefix);
        Some(escape::<S>(place.name, out) && exact)
    }

    #[inline]
    fn prefix(&mut self, mirror: &Mirror, dir: u32) -> Option<Piece<'_, bool>> {
        match self.prefixes.find(dir) {
            Some(index) => Some(self.prefixes.get(index)),
            None => self.render(mirror, dir),
        }
    }

    #[cold]
    fn render(&mut self, mirror: &Mirror, dir: u32) -> Option<Piece<'_, bool>> {
        self.raw.clear();
        if !mirror.append_dir_path(dir, &mut self.raw) {
            return None;
        }
        if self.raw.last() != Some(&b'/') {
            self.raw.push(b'/');
        }
        self.rendered.clear();
        let exact = escape::<S>(&self.raw, &mut self.rendered);
        self.prefixes.put(dir, &self.rendered, exact);
        Some((&self.rendered, exact))
    }
}

/// Appends the bytes of a path unescaped; nothing if it is not known.
pub fn append_raw(mirror: &Mirror, place: Place<'_>, out: &mut Vec<u8>) {
    if mirror.append_dir_path(place.dir, out) && !place.name.is_empty() {
        if out.last() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(place.name);
    }
}
