//! End-to-end tests that change the host for all, such as its sysctls, or need it quiet: one at a time, apart from the
//! rest (`tests/e2e`).

mod host;
mod queue;
mod steady;
