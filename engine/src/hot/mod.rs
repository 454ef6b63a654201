//! The steady state: no allocation, lock, formatting or text error in here. Never imports `cold`.

pub mod who;
