//! The tables of the resolver, each bounded: of names, of objects, and of walks.

pub(crate) mod chains;
pub(crate) mod deferred;
pub(crate) mod exchange_halves;
pub(crate) mod file_at_name;
pub(crate) mod file_names;
pub(crate) mod forgotten;
pub(crate) mod in_doubt;
pub(crate) mod index;
pub(crate) mod just_met;
pub(crate) mod last_seen;
pub(crate) mod met_elsewhere;
pub(crate) mod nameless;
pub(crate) mod objects;
pub(crate) mod orphans;
pub(crate) mod outside;
pub(crate) mod reported_by_walks;
pub(crate) mod rounds;
pub(crate) mod under_way;
