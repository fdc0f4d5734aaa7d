//! Whether a method's options, and its block's, go with the rest of it.

use syn::{ReturnType, Signature};

use crate::argument::Argument;
use crate::known;
use crate::method::{Kind, Method, typed};
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
    if let Some(span) = options.remote_error {
        let text = "with `implement` the trait gives the error's type: leave out one of both";
        problems.add(syn::Error::new(span, text));
    }
}

/// Whether a call that goes on between its messages - with closures, or with items of a stream - can be this one.
pub(crate) fn goes_on_fits(
    signature: &Signature,
    options: &MethodOptions,
    kind: Kind,
    arguments: &[Argument],
    returns_iterator: bool,
    implement: bool,
    problems: &mut Problems,
) {
    let with_types = || typed(signature).zip(arguments);
    let closure = with_types().find(|(_, argument)| argument.closure.is_some());
    let output = || match &signature.output {
        ReturnType::Type(_, ty) => quote::quote!(#ty),
        ReturnType::Default => quote::quote!(),
    };
    if let Some((written, _)) = closure {
        let wrong = match kind {
            Kind::Constructor(_) => Some(
                "a constructor can't be lent a closure, since it runs when the process is started, and again at each \
                 restart: pass the values, or let `start` be a method of the type's own with this argument",
            ),
            Kind::Consuming => Some(
                "a method that takes the object can't be lent a closure: take `&mut self`, or leave out the closure",
            ),
            _ if options.one_way.is_some() => Some(
                "a `one_way` method can't be lent a closure, since nobody waits to run it: leave out one of both",
            ),
            _ if returns_iterator => Some(
                "a method that returns an iterator can't be lent a closure, since that ends with the call: adapt the \
                 stream that the bridge's method returns, or leave out one of both",
            ),
            _ => None,
        };
        if let Some(text) = wrong {
            problems.at(&written.ty, text);
        }
    }
    if !returns_iterator {
        return;
    }
    let comes_back = with_types().any(|(_, argument)| argument.comes_back());
    let wrong = if implement {
        Some(
            "with `implement` a method can't return an iterator, since the bridge's items may be errors: leave out \
             `implement`, or return a `Vec`",
        )
    } else if kind == Kind::Consuming {
        Some(
            "a method that takes the object can't return an iterator, since the process ends with the call: take \
             `&mut self`, or return a `Vec`",
        )
    } else if comes_back {
        Some(
            "a method that returns an iterator can't have a `&mut` argument, since what it changes later wouldn't be \
             written back: take it by value",
        )
    } else if ["start", "stop"].iter().any(|name| signature.ident == name) {
        Some("what a bridge does when it starts or stops can't return an iterator: give it another name")
    } else {
        None
    };
    if let Some(text) = wrong {
        problems.at(output(), text);
    }
}

/// Whether the block's methods can be carried out by several threads at once.
pub(crate) fn threads_fit(methods: &[Method], problems: &mut Problems) {
    for method in methods {
        if method.stream.is_some() || method.has_closures() {
            problems.at(
                &method.name,
                "with `threads` a method can't return an iterator, nor be lent a closure, since calls of other threads \
                 come in between: leave out `threads`, or the method with `#[bridge(skip)]`",
            );
        }
    }
}
