//! What the fuzz targets run. Only there if `cfg(fuzzing)` is set.

/// The data as a message with named parameters, and as the parameters of one.
pub fn messages(data: &[u8]) {
    crate::messages::fuzzing::messages(data);
}
