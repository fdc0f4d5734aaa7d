//! What can go to a process that has none of this one's memory.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that a zygote's child can be started with: it is serialised here and read there.
///
/// Every type that is `Serialize + DeserializeOwned + 'static` is one, without any more doing; that includes
/// this library's connections, queues, events, locks and memory, also as fields. For a type of your own:
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Job {
///     path: std::path::PathBuf,
/// }
/// # fn is_portable<T: common_ipc::process::Portable>() {}
/// # is_portable::<Job>();
/// ```
///
/// A type that borrows something (`&str`, a task with a lifetime) isn't one; of some of those the compiler says that
/// an "implementation of `Deserialize` is not general enough". Own it: `String`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't go to a zygote's child: it isn't `Portable`",
    label = "not serialisable, or it borrows something",
    note = "derive it: `#[derive(serde::Serialize, serde::Deserialize)]`, with owned fields (`String`, not `&str`)",
    note = "or start it by fork (`start`, `spawn`), which moves anything into the child"
)]
pub trait Portable: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Portable for T {}
