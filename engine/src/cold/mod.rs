//! Set-up: may allocate, fail and say why.

pub mod procfs;
pub mod who;
