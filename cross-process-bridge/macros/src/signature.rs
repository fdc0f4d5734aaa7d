//! A method's signature: what of it can be bridged, and of which kind it is.

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{
    GenericParam, Generics, Receiver, ReceiverKind, ReturnType, Safety, Signature, Token, Type,
    WherePredicate,
};

use crate::closure::Parameters;
use crate::known;
use crate::method::Kind;
use crate::result::{Makes, makes};
use crate::substitute::SelfIs;

/// Qualifiers that a bridged method hasn't.
pub(crate) fn plain(signature: &Signature) -> syn::Result<()> {
    let error = |at: &dyn ToTokens, text| Err(syn::Error::new_spanned(at.to_token_stream(), text));
    if let Some(word) = &signature.asyncness {
        return error(
            word,
            "an async method can't be bridged, since the object's process has no runtime: make it a plain one \
             (with the feature `tokio` the bridge has async twins of those), or leave it out with \
             `#[bridge(skip)]`",
        );
    }
    if let Safety::Unsafe(word) = &signature.safety {
        return error(
            word,
            "an unsafe method can't be bridged, since its caller can promise nothing about another process: wrap \
             it in a safe one, or leave it out with `#[bridge(skip)]`",
        );
    }
    if let Some(abi) = &signature.abi {
        return error(
            abi,
            "a method for C can't be bridged, since C has no way to be told that the object's process died: \
             leave out `extern`, or the method with `#[bridge(skip)]`",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return error(variadic, "arguments of any number can't be bridged: take a `Vec`");
    }
    Ok(())
}

/// The parameters and bounds that may be: lifetimes, and closures' types.
pub(crate) fn generics(generics: &Generics, closures: &Parameters) -> syn::Result<Generics> {
    for parameter in &generics.params {
        let example = match parameter {
            GenericParam::Lifetime(_) => continue,
            GenericParam::Type(parameter) if closures.has(&parameter.ident) => continue,
            GenericParam::Type(_) => {
                "since the other process must know its types: take `impl Into<X>`, `impl AsRef<X>` or a type, or put \
                 the parameter on the `impl` block, unless it is a closure's type, with `F: FnMut(A) -> R`"
            }
            GenericParam::Const(_) => {
                "since the other process must know its parameters: put the parameter on the `impl` block"
            }
        };
        return Err(syn::Error::new_spanned(
            parameter,
            format!(
                "a generic method can't be bridged, {example}; or leave the method out with `#[bridge(skip)]`"
            ),
        ));
    }
    let mut kept = generics.clone();
    let Some(clause) = &mut kept.where_clause else { return Ok(kept) };
    let mut predicates = Punctuated::<WherePredicate, Token![,]>::new();
    for predicate in std::mem::take(&mut clause.predicates) {
        match &predicate {
            // Which it is.
            WherePredicate::Type(bound)
                if known::path(&bound.bounded_ty).is_some_and(|path| path.is_ident("Self")) => {}
            WherePredicate::Type(bound)
                if known::path(&bound.bounded_ty)
                    .and_then(|path| path.get_ident())
                    .is_some_and(|name| closures.has(name)) =>
            {
                predicates.push(predicate);
            }
            WherePredicate::Type(_) => {
                return Err(syn::Error::new_spanned(
                    predicate,
                    "a bound of a single method can't be bridged, since all methods are called from one place: put \
                     the bound on the `impl` block, or leave the method out with `#[bridge(skip)]`",
                ));
            }
            _ => predicates.push(predicate),
        }
    }
    clause.predicates = predicates;
    Ok(kept)
}

/// What a method has of the object.
#[derive(Clone, Copy)]
pub(crate) enum Has {
    None,
    Lent,
    Value,
}

/// Which `self` a method has.
pub(crate) fn receiver(receiver: Option<&Receiver>, object: &Type) -> syn::Result<Has> {
    let Some(receiver) = receiver else { return Ok(Has::None) };
    let is_self = |ty: &Type| {
        known::path(ty).is_some_and(|path| path.is_ident("Self")) || makes(ty, object) == Some(Makes::Object)
    };
    match &receiver.kind {
        ReceiverKind::Value => Ok(Has::Value),
        ReceiverKind::Reference(..) => Ok(Has::Lent),
        ReceiverKind::Typed(_, ty) => match known::peel(ty) {
            Type::Reference(reference) if is_self(&reference.elem) => Ok(Has::Lent),
            ty if is_self(ty) => Ok(Has::Value),
            _ => Err(syn::Error::new_spanned(
                receiver,
                "the object's process has the object itself, in no box or count: take `&self`, `&mut self` or \
                 `self`, or leave the method out with `#[bridge(skip)]`",
            )),
        },
        _ => Err(syn::Error::new_spanned(receiver, "take `&self`, `&mut self` or `self`")),
    }
}

/// Whether a method may change the object.
pub(crate) fn changes(receiver: Option<&Receiver>) -> bool {
    match receiver.map(|receiver| &receiver.kind) {
        Some(ReceiverKind::Reference(_, _, mutability)) => mutability.is_some(),
        Some(ReceiverKind::Typed(_, ty)) => match known::peel(ty) {
            Type::Reference(reference) => reference.mutability.is_some(),
            _ => true,
        },
        _ => true,
    }
}

/// Whether a function makes objects.
pub(crate) fn is_constructor(signature: &Signature, self_is: &SelfIs<'_>) -> bool {
    let ReturnType::Type(_, ty) = &signature.output else { return false };
    signature.receiver().is_none()
        && self_is.replaced(ty).is_ok_and(|ty| makes(&ty, self_is.object).is_some())
}

/// Of which kind a method is that returns `output`.
pub(crate) fn kind(receiver: Has, signature: &Signature, output: &Type, object: &Type) -> syn::Result<Kind> {
    let built = match known::peel(output) {
        Type::Reference(reference) => makes(&reference.elem, object),
        ty => makes(ty, object),
    };
    let lends = matches!(known::peel(output), Type::Reference(_));
    match receiver {
        Has::None => Ok(match makes(output, object) {
            Some(makes) => Kind::Constructor(makes),
            None => Kind::Associated,
        }),
        Has::Lent if lends && built.is_some() => Err(syn::Error::new_spanned(
            &signature.output,
            "a method that returns the object can't be bridged, since the object stays in its process: return \
             nothing",
        )),
        Has::Value if built.is_some() => Err(syn::Error::new_spanned(
            &signature.output,
            "a builder's method can't be bridged, since the object stays in its process: put the values into the \
             constructor, or take `&mut self` and return nothing; or leave the method out with `#[bridge(skip)]`",
        )),
        Has::Lent => Ok(Kind::Lent),
        Has::Value => Ok(Kind::Consuming),
    }
}
