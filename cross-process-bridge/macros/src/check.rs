//! Types that can't go to another process, and what to write instead.

use quote::ToTokens;
use syn::{
    GenericArgument, Lifetime, PathArguments, ReturnType, Type, TypeImplTrait, TypeParamBound, TypeReference,
};

use crate::known;

/// What closures, and pointers to functions, are told.
const CLOSURE: &str = "a closure can't go to another process, which has none of what it captures, but be lent to a method \
                       for the time of its call: take an `impl FnMut(A) -> R` or a `&mut dyn FnMut(A) -> R`, by itself or \
                       in an `Option`";

/// An argument, `impl Trait` aside.
pub(crate) fn argument(ty: &Type) -> syn::Result<()> {
    match known::peel(ty) {
        Type::Reference(reference) => borrowed(reference),
        ty => match known::of(ty, "Option").map(known::peel) {
            Some(Type::Reference(TypeReference { mutability: Some(_), .. })) => {
                error(ty, "an `Option<&mut T>` can't be written back: take a `&mut Option<T>`")
            }
            Some(Type::Reference(reference)) => borrowed(reference),
            _ => match known::of(ty, "Cow").map(known::peel) {
                Some(Type::Slice(slice)) => inside(&slice.elem),
                Some(inner) => inside(inner),
                None => inside(ty),
            },
        },
    }
}

fn borrowed(reference: &TypeReference) -> syn::Result<()> {
    if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
        return error(
            lifetime,
            "what a call lends to another process ends with the call, so a `'static` borrow can't be bridged: \
             leave out `'static`, or take the owned type",
        );
    }
    if reference.mutability.is_none() && known::changes_when_shared(&reference.elem) {
        return error(
            reference,
            "what the method changes through this reference wouldn't come back, since the other process has a copy: \
             take it by `&mut`, which is written back",
        );
    }
    match known::peel(&reference.elem) {
        Type::Slice(slice) => inside(&slice.elem),
        Type::ImplTrait(opaque) => {
            if opaque.bounds.iter().any(is_function) {
                return error(opaque, CLOSURE);
            }
            error(
                reference,
                "a borrowed `impl Trait` can't be bridged, since the other process must know the type: take `impl \
                 Into<X>`, `impl AsRef<X>` or `impl ToString` by value, or a type",
            )
        }
        elem => inside(elem),
    }
}

/// A result, whole. A borrow in it is its own mistake.
pub(crate) fn result(ty: &Type) -> syn::Result<()> {
    match known::peel(ty) {
        Type::Reference(reference) => error(
            ty,
            format!(
                "a bridged method can't return a borrow, since what it borrows from is in another process: return \
                 {}",
                owned(reference)
            ),
        ),
        Type::ImplTrait(_) => error(
            ty,
            "a bridged method can't return an `impl Trait`, since this process must know the type to read it: return \
             a type, or an `impl Iterator<Item = T>`, by itself or in a `Result`",
        ),
        Type::Never(_) => error(
            ty,
            "a method that never returns can't be bridged, since its caller would wait for ever: let it return \
             `()`, or leave it out with `#[bridge(skip)]`",
        ),
        ty => inside(ty),
    }
}

/// A field.
pub(crate) fn field(ty: &Type) -> syn::Result<()> {
    inside(ty)
}

/// A type that has to be owned with all that is in it.
fn inside(ty: &Type) -> syn::Result<()> {
    match known::peel(ty) {
        Type::Reference(reference) => error(
            ty,
            format!(
                "a borrow within another type can't be bridged, since only owned values can be made anew in \
                 another process: write {}",
                owned(reference)
            ),
        ),
        Type::Path(path) => {
            if let Some(qself) = &path.qself {
                inside(&qself.ty)?;
            }
            path.path.segments.iter().try_for_each(|segment| arguments(&segment.arguments))
        }
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(inside),
        Type::Array(array) => inside(&array.elem),
        Type::Slice(slice) => inside(&slice.elem),
        Type::Ptr(_) => error(
            ty,
            "a raw pointer means nothing in another process: pass the value, or an index into something that \
             lives there",
        ),
        Type::FnPtr(_) => error(ty, CLOSURE),
        Type::TraitObject(object) if object.bounds.iter().any(is_function) => error(ty, CLOSURE),
        Type::TraitObject(object) => error(
            ty,
            if object.bounds.iter().any(|bound| is_trait(bound, "Error")) {
                "an error in a box can't be bridged, since nothing says how to write it down: mark the method with \
                 `#[bridge(remote_error)]`, and its error arrives as a `RemoteError`"
            } else {
                "a trait object can't be bridged, since the other process must know the type: write a type, such as \
                 an enum of all that it may be"
            },
        ),
        Type::ImplTrait(opaque) => opaque_inside(opaque),
        _ => Ok(()),
    }
}

fn opaque_inside(opaque: &TypeImplTrait) -> syn::Result<()> {
    if opaque.bounds.iter().any(is_function) {
        return error(opaque, CLOSURE);
    }
    error(
        opaque,
        "an `impl Trait` within another type can't be bridged, since the other process must know the type: write a \
         type",
    )
}

fn arguments(arguments: &PathArguments) -> syn::Result<()> {
    match arguments {
        PathArguments::None => Ok(()),
        PathArguments::AngleBracketed(bracketed) => {
            bracketed.args.iter().try_for_each(|argument| match argument {
                GenericArgument::Lifetime(lifetime) => outlives_all(lifetime),
                GenericArgument::Type(ty) => inside(ty),
                GenericArgument::AssocType(associated) => inside(&associated.ty),
                _ => Ok(()),
            })
        }
        PathArguments::Parenthesized(function) => {
            function.inputs.iter().try_for_each(|input| inside(&input.ty))?;
            match &function.output {
                ReturnType::Type(_, ty) => inside(ty),
                ReturnType::Default => Ok(()),
            }
        }
    }
}

fn outlives_all(lifetime: &Lifetime) -> syn::Result<()> {
    if lifetime.ident == "static" {
        return Ok(());
    }
    error(
        lifetime,
        "a type that borrows can't be bridged, since only owned values can be made anew in another process: take a \
         type without a lifetime (a `Cow` may be an argument, on its own)",
    )
}

/// The bound is one that closures satisfy.
pub(crate) fn is_function(bound: &TypeParamBound) -> bool {
    ["Fn", "FnMut", "FnOnce", "AsyncFn", "AsyncFnMut", "AsyncFnOnce"].iter().any(|name| is_trait(bound, name))
}

fn is_trait(bound: &TypeParamBound, name: &str) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|segment| segment.ident == name)
        }
        _ => false,
    }
}

/// What to write in place of a reference.
fn owned(reference: &TypeReference) -> String {
    let name = |ty: &Type| known::path(ty)?.get_ident().map(ToString::to_string);
    match known::peel(&reference.elem) {
        ty if known::is(ty, "str") => "a `String`".to_owned(),
        ty if known::is(ty, "Path") => "a `PathBuf`".to_owned(),
        ty if known::is(ty, "OsStr") => "an `OsString`".to_owned(),
        ty if known::is(ty, "CStr") => "a `CString`".to_owned(),
        Type::Slice(slice) => match name(&slice.elem) {
            Some(element) => format!("a `Vec<{element}>`"),
            None => "a `Vec`".to_owned(),
        },
        Type::TraitObject(_) => "a type that is known".to_owned(),
        ty => match name(ty) {
            Some(name) => format!("the value itself, `{name}`"),
            None => "the value itself".to_owned(),
        },
    }
}

fn error<T>(at: impl ToTokens, message: impl std::fmt::Display) -> syn::Result<T> {
    Err(syn::Error::new_spanned(at, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;
    use syn::parse_quote;

    fn text(checked: syn::Result<()>) -> String {
        checked.unwrap_err().to_string()
    }

    #[test]
    fn what_may_be_an_argument() {
        let types: [Type; 9] = [
            parse_quote!(u8),
            parse_quote!(&str),
            parse_quote!(&'a mut [u8]),
            parse_quote!(Option<&Path>),
            parse_quote!(Cow<'_, str>),
            parse_quote!(HashMap<String, Vec<Option<u8>>>),
            parse_quote!(Cow<'static, str>),
            parse_quote!([[f64; 4]; N]),
            parse_quote!(<Self as Named>::Item),
        ];
        for ty in types {
            assert!(argument(&ty).is_ok(), "{}", quote!(#ty));
        }
    }

    #[test]
    fn what_may_not_be_an_argument() {
        let says = |ty: Type, words: &str| {
            let text = text(argument(&ty));
            assert!(text.contains(words), "{}: {text}", quote!(#ty));
        };
        says(parse_quote!(&'static str), "leave out `'static`");
        says(parse_quote!(&[&str]), "write a `String`");
        says(parse_quote!(Vec<&Job>), "write the value itself, `Job`");
        says(parse_quote!(HashMap<&Path, u8>), "write a `PathBuf`");
        says(parse_quote!(Option<&mut u8>), "`&mut Option<T>`");
        says(parse_quote!(&&u8), "the value itself, `u8`");
        says(parse_quote!(Box<dyn Fn(u8) -> u8>), "a closure");
        says(parse_quote!(&mut dyn FnMut()), "a closure");
        says(parse_quote!(fn(u8) -> u8), "a closure");
        says(parse_quote!(&impl Fn()), "a closure");
        says(parse_quote!(&dyn Shape), "a trait object");
        says(parse_quote!(Vec<impl Into<String>>), "an `impl Trait` within");
        says(parse_quote!(Guard<'_>), "a type that borrows");
        says(parse_quote!(*const u8), "a raw pointer");
    }

    #[test]
    fn what_may_not_be_a_result() {
        let says = |ty: Type, words: &str| {
            let text = text(result(&ty));
            assert!(text.contains(words), "{}: {text}", quote!(#ty));
        };
        says(parse_quote!(&'static str), "return a `String`");
        says(parse_quote!(&[u8]), "return a `Vec<u8>`");
        says(parse_quote!(Option<&str>), "write a `String`");
        says(parse_quote!(impl std::fmt::Display), "or an `impl Iterator<Item = T>`");
        says(parse_quote!(Result<(), Box<dyn std::error::Error>>), "remote_error");
        says(parse_quote!(!), "never returns");
        says(parse_quote!(Cow<'_, str>), "without a lifetime");
    }
}
