//! What may be an argument or a result of a bridged method.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that can cross a bridge as an argument or a result: it is serialised on one side and read on the other.
///
/// Every type that is `Serialize + DeserializeOwned + 'static` is one, without any more doing; that includes this
/// library's connections, queues, events, locks and memory, also as fields. The format isn't self-describing: untagged or
/// internally tagged enums, `flatten` and `skip_serializing_if` don't survive it, which debug builds notice.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross a bridge: it isn't serialisable, or it borrows something",
    label = "can't be an argument or a result of a bridged method",
    note = "derive it: `#[derive(serde::Serialize, serde::Deserialize)]`, with owned fields (`String`, not `&str`)",
    note = "an error that isn't serialisable (std::io::Error, Box<dyn Error>): `#[bridge(remote_error)]` on the method carries it over as a RemoteError",
    note = "or leave the method out: `#[bridge(skip)]`"
)]
pub trait Crosses: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Crosses for T {}
