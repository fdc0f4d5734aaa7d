//! The peers among crates, one file each.

#[cfg(feature = "iceoryx2")]
pub(crate) mod iceoryx2;
pub(crate) mod ipc_channel;
