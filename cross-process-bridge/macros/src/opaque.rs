//! Arguments of a type that the caller chooses: `impl Into<X>` and its like.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{GenericArgument, PathArguments, PathSegment, Type, TypeImplTrait, TypeParamBound, parse_quote};

use crate::known;

/// An `impl Trait` that can be made a type that is known, in the calling process.
pub(crate) struct Opaque {
    /// What it is made.
    pub(crate) made: Type,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    Into,
    AsRef,
    Collect,
    Iterate,
    Text,
}

/// What is known of this one.
///
/// # Errors
///
/// For those that can't be made anything.
pub(crate) fn of(opaque: &TypeImplTrait) -> syn::Result<Opaque> {
    let traits = opaque.bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    traits.filter_map(known_as).next().ok_or_else(|| {
        syn::Error::new_spanned(
            opaque,
            "the other process must know this argument's type: take a type, `impl Into<X>`, `impl AsRef<X>`, `impl \
             IntoIterator<Item = X>`, `impl ToString`, `impl Display` or `impl FnMut(A) -> R`",
        )
    })
}

fn known_as(of: &PathSegment) -> Option<Opaque> {
    let argument = || known::types(of).first().copied();
    let (made, how) = match of.ident.to_string().as_str() {
        "Into" => (argument()?.clone(), How::Into),
        "AsRef" => {
            let lent = argument()?;
            (parse_quote!(&#lent), How::AsRef)
        }
        "IntoIterator" => (list_of(item(of)?), How::Collect),
        "Iterator" => (list_of(item(of)?), How::Iterate),
        "ToString" | "Display" => (parse_quote!(::std::string::String), How::Text),
        _ => return None,
    };
    Some(Opaque { made, how })
}

/// `X`, of `Item = X`.
fn item(of: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &of.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(associated) if associated.ident == "Item" => Some(&associated.ty),
        _ => None,
    })
}

fn list_of(item: &Type) -> Type {
    parse_quote!(::std::vec::Vec<#item>)
}

impl Opaque {
    /// The statement that makes it.
    pub(crate) fn make(&self, name: &Ident) -> TokenStream {
        let made = &self.made;
        let value = match self.how {
            How::Into => quote!(::core::convert::Into::into(#name)),
            How::AsRef => quote!(::core::convert::AsRef::as_ref(&#name)),
            How::Collect | How::Iterate => {
                quote!(::core::iter::Iterator::collect(::core::iter::IntoIterator::into_iter(#name)))
            }
            How::Text => quote!(::std::string::ToString::to_string(&#name)),
        };
        quote!(let #name: #made = #value;)
    }

    /// In the child: what the method is called with, where that isn't what it would be called with for an argument of
    /// the type that this one was made. `deref`: that one is lent as what it dereferences to.
    pub(crate) fn passed(&self, rt: &TokenStream, held: &Ident, deref: bool) -> Option<TokenStream> {
        match self.how {
            How::Into | How::Collect | How::Text => None,
            How::Iterate => Some(quote!(::core::iter::IntoIterator::into_iter(#held))),
            How::AsRef if deref => Some(quote!(#held)),
            How::AsRef => Some(quote!(#rt::wire::Lends(#held))),
        }
    }
}
