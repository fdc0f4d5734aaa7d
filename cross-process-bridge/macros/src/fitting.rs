//! Whether a method's options, and its block's, go with the rest of it.

use syn::{ReturnType, Signature};

use crate::argument::Argument;
use crate::known;
use crate::method::{Kind, typed};
use crate::options::MethodOptions;
use crate::problems::Problems;
use crate::result::Returned;
use crate::substitute::is_self_alone;

/// Whether the method is what its options say.
pub(crate) fn options_fit(
    signature: &Signature,
    options: &MethodOptions,
    kind: Kind,
    arguments: &[Argument],
    returned: &Returned,
    problems: &mut Problems,
) {
    let constructs = matches!(kind, Kind::Constructor(_));
    let comes_back = typed(signature).zip(arguments).find(|(_, argument)| argument.comes_back());
    let one_way = if constructs || kind == Kind::Consuming {
        Some("`one_way` is for methods that leave the object where it is, and return nothing: leave it out")
    } else if !returned.is_unit {
        Some("a `one_way` method can't return anything, since nobody waits for it: leave out one of both")
    } else if comes_back.is_some() {
        Some(
            "a `one_way` method can't have a `&mut` argument, since nobody waits for what would be written back: take \
             it by value, or leave out `one_way`",
        )
    } else {
        None
    };
    if let (Some(span), Some(text)) = (options.one_way, one_way) {
        problems.add(syn::Error::new(span, text));
    }
    if let (Some(span), true) = (options.remote_error, constructs) {
        let text =
            "a constructor's error is a `RemoteError` anyway, that of `start()`: leave out `remote_error`";
        problems.add(syn::Error::new(span, text));
    }
    if let (true, Some((written, _))) = (constructs, comes_back) {
        problems.at(
            &written.ty,
            "a constructor's `&mut` argument can't be written back, since the constructor runs when the process is \
             started: take it by value",
        );
    }
}

/// Whether the bridge can have the method as one of the trait's.
pub(crate) fn implement_fits(signature: &Signature, options: &MethodOptions, problems: &mut Problems) {
    let output = match &signature.output {
        ReturnType::Type(_, ty) => Some(&**ty),
        ReturnType::Default => None,
    };
    let last = output.and_then(known::path).and_then(|path| path.segments.last());
    if signature.receiver().is_none() || last.is_none_or(|last| last.ident != "Result") {
        problems.at(
            &signature.ident,
            "with `implement` each method has a `self` and returns a `Result<T, E>`, with `E: From<BridgeError>`, \
             since the other process may have died: change the trait, or leave out `implement`",
        );
    } else if let Some(ty) =
        typed(signature).map(|argument| &*argument.ty).chain(output).find(|ty| is_self_alone(ty))
    {
        problems.at(
            ty,
            "with `implement`, `Self` would be the bridge here, which isn't in the other process: leave out \
             `implement`",
        );
    }
    if let Some(name) = &options.rename {
        problems.at(name, "with `implement` the trait gives the name: leave out one of both");
    }
    if let Some(span) = options.remote_error {
        let text = "with `implement` the trait gives the error's type: leave out one of both";
        problems.add(syn::Error::new(span, text));
    }
}
