//! What a method returns: as what it crosses, and what the bridge's method returns.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Type, parse_quote};

use crate::check;
use crate::known;
use crate::owned::{Owned, place};

/// The result of a bridged method.
pub(crate) struct Returned {
    value: Owned,
    /// The error crosses as a `RemoteError`; `value` is what there is without one.
    remote: bool,
    /// Where it stands.
    pub(crate) place: Span,
    /// There is nothing.
    pub(crate) is_unit: bool,
}

impl Returned {
    /// `remote_error`: where that option stands.
    pub(crate) fn of(ty: &Type, remote_error: Option<Span>) -> syn::Result<Returned> {
        let place = place(&quote!(#ty));
        let Some(span) = remote_error else {
            check::result(ty)?;
            return Ok(Returned { is_unit: is_unit(ty), value: Owned::of(ty), remote: false, place });
        };
        let Some(success) = known::result_of(ty) else {
            let text = "`remote_error` is about the error of a `Result<T, E>`: spell out the result's type with its `T`, \
                        or leave out the option";
            return Err(if is_unit(ty) {
                syn::Error::new(span, text)
            } else {
                syn::Error::new_spanned(ty, text)
            });
        };
        check::result(success)?;
        Ok(Returned { is_unit: false, value: Owned::of(success), remote: true, place })
    }

    /// Of a constructor, which makes something of this type.
    pub(crate) fn of_constructor(made: &Type) -> Returned {
        Returned {
            is_unit: true,
            value: Owned::of(&Returned::unit()),
            remote: false,
            place: place(&quote!(#made)),
        }
    }

    /// `()`.
    pub(crate) fn unit() -> Type {
        parse_quote!(())
    }

    /// What the bridge's method returns, if the call succeeds.
    pub(crate) fn ty(&self, rt: &TokenStream) -> TokenStream {
        self.with_error(rt, self.value.ty.clone())
    }

    /// Whether its error crosses as a `RemoteError`.
    pub(crate) fn is_remote(&self) -> bool {
        self.remote
    }

    /// As what it crosses.
    pub(crate) fn wire(&self, rt: &TokenStream) -> TokenStream {
        self.with_error(rt, self.value.wire(rt))
    }

    fn with_error(&self, rt: &TokenStream, value: TokenStream) -> TokenStream {
        if self.remote { quote!(::core::result::Result<#value, #rt::RemoteError>) } else { value }
    }

    /// In the child.
    pub(crate) fn to_wire(&self, rt: &TokenStream, value: TokenStream) -> TokenStream {
        if !self.remote {
            return self.value.to_wire(rt, value);
        }
        let name = Ident::new("value", Span::mixed_site());
        let success = self.value.to_wire(rt, quote!(#name));
        let wire = self.wire(rt);
        let failure = remote(rt, self.place);
        quote! {
            match #value {
                ::core::result::Result::Ok(#name) => <#wire>::Ok(#success),
                #failure
            }
        }
    }

    /// What came, if it isn't the result already.
    pub(crate) fn of_wire(&self, rt: &TokenStream, came: TokenStream) -> Option<TokenStream> {
        if self.value.is_plain() {
            return None;
        }
        if !self.remote {
            return Some(self.value.of_wire(rt, came));
        }
        let name = Ident::new("value", Span::mixed_site());
        let success = self.value.of_wire(rt, quote!(#name));
        Some(quote!(::core::result::Result::map(#came, |#name| #success)))
    }
}

/// The arm of a match that makes any error a `RemoteError`. At this place it can be wrong.
pub(crate) fn remote(rt: &TokenStream, place: Span) -> TokenStream {
    let place = Span::mixed_site().located_at(place);
    let error = Ident::new("error", place);
    let made = quote_spanned!(place=> (&&&&#rt::failure::Failure(&#error)).kind().remote(#error));
    quote! {
        ::core::result::Result::Err(#error) => ::core::result::Result::Err({
            use #rt::failure::{AnyDebug as _, AnyDisplay as _, AnyInto as _, AnyPointer as _};
            #made
        }),
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(known::peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// How a constructor returns what it has made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Makes {
    Object,
    Result,
    Option,
}

/// Whether the type is `object`, in a `Result` or in an `Option` perhaps.
pub(crate) fn makes(ty: &Type, object: &Type) -> Option<Makes> {
    if same(ty, object) {
        Some(Makes::Object)
    } else if known::result_of(ty).is_some_and(|made| same(made, object)) {
        Some(Makes::Result)
    } else if known::of(ty, "Option").is_some_and(|made| same(made, object)) {
        Some(Makes::Option)
    } else {
        None
    }
}

/// By the last segment: the same type may be written with another way to it.
fn same(a: &Type, b: &Type) -> bool {
    let text = |ty| known::path(ty)?.segments.last().map(|last| quote!(#last).to_string());
    text(a).is_some() && text(a) == text(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_are_known_by_what_they_return() {
        let object: Type = parse_quote!(inner::Store<T>);
        let made = |ty: Type| makes(&ty, &object);
        assert!(made(parse_quote!(Store<T>)) == Some(Makes::Object));
        assert!(made(parse_quote!(inner::Store<T>)) == Some(Makes::Object));
        assert!(made(parse_quote!(std::io::Result<Store<T>>)) == Some(Makes::Result));
        assert!(made(parse_quote!(Result<Store<T>, String>)) == Some(Makes::Result));
        assert!(made(parse_quote!(Option<Store<T>>)) == Some(Makes::Option));
        assert!(made(parse_quote!(Store<u8>)).is_none());
        assert!(made(parse_quote!(Vec<Store<T>>)).is_none());
        assert!(made(parse_quote!(())).is_none());
    }
}
