//! The binary stream.
