//! Empty.
scenarios!();
