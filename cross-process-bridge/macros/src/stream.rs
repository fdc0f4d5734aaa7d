//! Results that are iterators: they run in the object's process, and their items cross one by one.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericArgument, PathArguments, Type, TypeParamBound, parse_quote};

use crate::check;
use crate::expand::parts::hidden;
use crate::known;
use crate::owned::Owned;
use crate::result::Returned;

/// What a method returns that returns an iterator.
pub(crate) struct Stream {
    item: Owned,
    /// As it was written, if it is in a `Result`: with `()` in the place of the iterator.
    fallible: Option<Type>,
}

/// If this result is an iterator, in a `Result` perhaps.
///
/// # Errors
///
/// For one whose items can't cross.
pub(crate) fn of(output: &Type) -> syn::Result<Option<Stream>> {
    let (iterator, fallible) = match known::result_of(output) {
        Some(inner) => (inner, Some(with_success(output, &parse_quote!(())))),
        None => (output, None),
    };
    let Some(item) = item_of(known::peel(iterator)) else { return Ok(None) };
    check::result(item)?;
    Ok(Some(Stream { item: Owned::of(item), fallible }))
}

/// `T`, of an `impl Iterator<Item = T>` or a `Box<dyn Iterator<Item = T>>`.
fn item_of(ty: &Type) -> Option<&Type> {
    let bounds = match ty {
        Type::ImplTrait(opaque) => &opaque.bounds,
        ty => match known::of(ty, "Box").map(known::peel) {
            Some(Type::TraitObject(object)) => &object.bounds,
            _ => return None,
        },
    };
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last()?;
        let names = ["Iterator", "DoubleEndedIterator", "ExactSizeIterator", "FusedIterator", "IntoIterator"];
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        arguments.args.iter().filter(|_| names.iter().any(|name| last.ident == name)).find_map(|argument| {
            match argument {
                GenericArgument::AssocType(associated) if associated.ident == "Item" => Some(&associated.ty),
                _ => None,
            }
        })
    })
}

/// A `Result`, by whichever name, with another type of success.
fn with_success(result: &Type, success: &Type) -> Type {
    let mut changed = known::peel(result).clone();
    if let Type::Path(path) = &mut changed {
        if let Some(PathArguments::AngleBracketed(arguments)) =
            path.path.segments.last_mut().map(|last| &mut last.arguments)
        {
            let first =
                arguments.args.iter_mut().find(|argument| matches!(argument, GenericArgument::Type(_)));
            if let Some(first) = first {
                *first = GenericArgument::Type(success.clone());
            }
        }
    }
    changed
}

impl Stream {
    /// What is returned beside the items.
    pub(crate) fn beside(&self) -> Type {
        self.fallible.clone().unwrap_or_else(Returned::unit)
    }

    /// What the bridge's method returns, which is of this type there.
    pub(crate) fn ty(&self, rt: &TokenStream, stream: &TokenStream, remote: bool) -> TokenStream {
        let item = &self.item.ty;
        let stream = quote!(#stream<#item>);
        match &self.fallible {
            None => stream,
            Some(ty) if remote => {
                let _ = ty;
                quote!(::core::result::Result<#stream, #rt::RemoteError>)
            }
            Some(ty) => {
                let ty = with_success(ty, &Type::Verbatim(stream));
                quote!(#ty)
            }
        }
    }

    /// In the bridge's method: the result, made of what was opened.
    pub(crate) fn opened(&self, rt: &TokenStream, came: TokenStream) -> TokenStream {
        let (beside, items, item) = (hidden("beside"), hidden("items"), hidden("item"));
        let (ty, wire, value) = (&self.item.ty, self.item.wire(rt), self.item.of_wire(rt, quote!(#item)));
        let result = match self.fallible {
            None => quote!(#items),
            Some(_) => quote!(::core::result::Result::map(#beside, |()| #items)),
        };
        quote!({
            let (#beside, #items) = #came.stream::<#wire, #ty>(|#item| #value);
            #result
        })
    }

    /// In the child: the items go where they are taken from.
    pub(crate) fn run(&self, rt: &TokenStream, returned: &Returned, called: TokenStream) -> TokenStream {
        let (opening, items, item, error) =
            (hidden("opening"), hidden("items"), hidden("item"), hidden("error"));
        let each = |items: TokenStream| {
            let items = quote!(::core::iter::IntoIterator::into_iter(#items));
            if self.item.is_plain() {
                return items;
            }
            let wire = self.item.to_wire(rt, quote!(#item));
            quote!(::core::iter::Iterator::map(#items, |#item| #wire))
        };
        let beside = returned.wire(rt);
        if self.fallible.is_none() {
            let items = each(called);
            return quote!(#opening.run::<#beside, _>(&(), #items));
        }
        let (some, result) = (each(quote!(#items)), hidden("result"));
        let refused = returned.to_wire(rt, quote!(::core::result::Result::<(), _>::Err(#error)));
        quote! {
            match #called {
                ::core::result::Result::Ok(#items) => {
                    let #result: #beside = ::core::result::Result::Ok(());
                    #opening.run::<#beside, _>(&#result, #some)
                }
                ::core::result::Result::Err(#error) => {
                    let #result: #beside = #refused;
                    #opening.refuse::<#beside>(&#result)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(output: Type) -> Option<String> {
        of(&output).ok().flatten().map(|stream| stream.item.ty.to_string())
    }

    #[test]
    fn iterators_are_known() {
        assert_eq!(item(parse_quote!(impl Iterator<Item = u64> + '_)).as_deref(), Some("u64"));
        assert_eq!(
            item(parse_quote!(Box<dyn Iterator<Item = String> + Send + '_>)).as_deref(),
            Some("String")
        );
        assert_eq!(item(parse_quote!(io::Result<impl Iterator<Item = u64>>)).as_deref(), Some("u64"));
        assert_eq!(item(parse_quote!(impl ExactSizeIterator<Item = u64>)).as_deref(), Some("u64"));
        assert!(item(parse_quote!(Vec<u64>)).is_none());
        assert!(item(parse_quote!(impl Fn(u64) -> u64)).is_none());
        assert!(of(&parse_quote!(impl Iterator<Item = &'a str>)).is_err());
    }

    #[test]
    fn the_bridge_returns_a_stream() {
        let ty = |output: Type| {
            let stream = of(&output).unwrap().unwrap();
            stream.ty(&quote!(rt), &quote!(Stream), false).to_string().replace(' ', "")
        };
        assert_eq!(ty(parse_quote!(impl Iterator<Item = u64>)), "Stream<u64>");
        assert_eq!(ty(parse_quote!(Result<impl Iterator<Item = u64>, Lost>)), "Result<Stream<u64>,Lost>");
        assert_eq!(ty(parse_quote!(io::Result<Box<dyn Iterator<Item = u8>>>)), "io::Result<Stream<u8>>");
    }
}
