//! Owned types, and what they are while they cross.
//!
//! Most cross as they are. Byte vectors and paths don't, since serde takes the former apart and refuses some of
//! the latter, nor do long arrays, which it doesn't know; nor what has one of those in it, as far as the macro can
//! see into it: options, vectors, results, tuples and arrays.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, ExprLit, Lit, Type};

use crate::known;

/// An owned type.
pub(crate) struct Owned {
    /// As it was written, or, of what borrows, as it is held.
    pub(crate) ty: TokenStream,
    shape: Shape,
}

enum Shape {
    /// As it is.
    Plain,
    /// The same, of a type of the user's, which the compiler is asked about where it is written.
    Asked,
    Bytes,
    Path,
    Array {
        element: Box<Owned>,
        len: TokenStream,
    },
    Option(Box<Owned>),
    Vec(Box<Owned>),
    Result(Box<Owned>),
    Tuple(Vec<Owned>),
}

impl Owned {
    pub(crate) fn of(ty: &Type) -> Owned {
        let plain = || if is_known(ty) { Shape::Plain } else { Shape::Asked };
        Owned { shape: shape(ty).unwrap_or_else(plain), ty: quote!(#ty) }
    }

    pub(crate) fn plain(ty: TokenStream) -> Owned {
        Owned { ty, shape: Shape::Plain }
    }

    pub(crate) fn path() -> Owned {
        Owned { ty: quote!(::std::path::PathBuf), shape: Shape::Path }
    }

    /// `Vec<element>`.
    pub(crate) fn vec_of(element: &Type) -> Owned {
        let ty = quote_spanned!(place(&quote!(#element))=> ::std::vec::Vec<#element>);
        if known::is(element, "u8") {
            return Owned { ty, shape: Shape::Bytes };
        }
        match special(element) {
            Some(element) => Owned { ty, shape: Shape::Vec(Box::new(element)) },
            None => Owned { ty, shape: Shape::Asked },
        }
    }

    /// Where the compiler is asked whether it crosses.
    pub(crate) fn asked_at(&self) -> Option<Span> {
        match &self.shape {
            Shape::Plain | Shape::Bytes | Shape::Path => None,
            Shape::Asked => Some(place(&self.ty)),
            Shape::Array { element: inner, .. }
            | Shape::Option(inner)
            | Shape::Vec(inner)
            | Shape::Result(inner) => inner.asked_at(),
            Shape::Tuple(parts) => parts.iter().find_map(Owned::asked_at),
        }
    }

    /// Whether it crosses as it is.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.shape, Shape::Plain | Shape::Asked)
    }

    /// The type as which it crosses.
    pub(crate) fn wire(&self, rt: &TokenStream) -> TokenStream {
        let ty = &self.ty;
        match &self.shape {
            Shape::Plain => ty.clone(),
            Shape::Asked => asked(rt, ty),
            Shape::Bytes => quote!(#rt::Bytes),
            Shape::Path => quote!(::std::ffi::OsString),
            Shape::Array { element, len } => {
                let element = element.wire(rt);
                quote!(#rt::wire::Array<#element, { #len }>)
            }
            Shape::Option(inner) => {
                let inner = inner.wire(rt);
                quote!(::core::option::Option<#inner>)
            }
            Shape::Vec(element) => {
                let element = element.wire(rt);
                quote!(::std::vec::Vec<#element>)
            }
            // It may be an alias that doesn't say which error it has.
            Shape::Result(inner) => {
                let inner = inner.wire(rt);
                asked(rt, &quote!(<#ty as #rt::wire::Fallible>::With<#inner>))
            }
            Shape::Tuple(parts) => {
                let parts = parts.iter().map(|part| part.wire(rt));
                quote!((#(#parts,)*))
            }
        }
    }

    /// What crosses, made from the value.
    pub(crate) fn to_wire(&self, rt: &TokenStream, value: TokenStream) -> TokenStream {
        match &self.shape {
            Shape::Plain | Shape::Asked => value,
            Shape::Bytes => quote!(<#rt::Bytes as ::core::convert::From<_>>::from(#value)),
            Shape::Path => quote!(::std::path::PathBuf::into_os_string(#value)),
            Shape::Array { element, .. } => {
                let array = match element.is_plain() {
                    true => value,
                    false => map(quote!(#rt::wire::map_array), value, |value| element.to_wire(rt, value)),
                };
                quote!(#rt::wire::Array(#array))
            }
            Shape::Option(inner) => {
                map(quote!(::core::option::Option::map), value, |value| inner.to_wire(rt, value))
            }
            Shape::Result(inner) => {
                map(quote!(::core::result::Result::map), value, |value| inner.to_wire(rt, value))
            }
            Shape::Vec(inner) => map(quote!(#rt::wire::map_all), value, |value| inner.to_wire(rt, value)),
            Shape::Tuple(parts) => in_parts(parts, value, |part, value| part.to_wire(rt, value)),
        }
    }

    /// The value, made from what came.
    pub(crate) fn of_wire(&self, rt: &TokenStream, came: TokenStream) -> TokenStream {
        match &self.shape {
            Shape::Plain | Shape::Asked => came,
            Shape::Bytes => quote!(<::std::vec::Vec<_> as ::core::convert::From<#rt::Bytes>>::from(#came)),
            Shape::Path => quote!(<::std::path::PathBuf as ::core::convert::From<_>>::from(#came)),
            Shape::Array { element, .. } => {
                let array = quote!(#rt::wire::Array::into_inner(#came));
                match element.is_plain() {
                    true => array,
                    false => map(quote!(#rt::wire::map_array), array, |came| element.of_wire(rt, came)),
                }
            }
            Shape::Option(inner) => {
                map(quote!(::core::option::Option::map), came, |came| inner.of_wire(rt, came))
            }
            Shape::Result(inner) => {
                map(quote!(::core::result::Result::map), came, |came| inner.of_wire(rt, came))
            }
            Shape::Vec(inner) => map(quote!(#rt::wire::map_all), came, |came| inner.of_wire(rt, came)),
            Shape::Tuple(parts) => in_parts(parts, came, |part, came| part.of_wire(rt, came)),
        }
    }

    /// What is serialised in place of the value behind the reference `lent`, which may be one to what the type
    /// dereferences to: a `&[T]` for a `Vec<T>`.
    pub(crate) fn lent(&self, rt: &TokenStream, lent: TokenStream) -> TokenStream {
        match &self.shape {
            Shape::Plain | Shape::Asked => lent,
            Shape::Bytes => quote!(#rt::wire::ByteSlice(#lent)),
            Shape::Path => quote!(::std::path::Path::as_os_str(#lent)),
            Shape::Array { element, .. } if element.is_plain() => quote!(#rt::wire::ArrayRef(#lent)),
            Shape::Array { element, .. } => {
                let array = map(quote!(#rt::wire::map_array_ref), lent, |lent| element.lent(rt, lent));
                quote!(#rt::wire::Array(#array))
            }
            Shape::Option(inner) => {
                let lent = quote!(::core::option::Option::as_ref(#lent));
                map(quote!(::core::option::Option::map), lent, |lent| inner.lent(rt, lent))
            }
            Shape::Result(inner) => {
                let lent = quote!(::core::result::Result::as_ref(#lent));
                map(quote!(::core::result::Result::map), lent, |lent| inner.lent(rt, lent))
            }
            Shape::Vec(inner) => map(quote!(#rt::wire::map_each), lent, |lent| inner.lent(rt, lent)),
            Shape::Tuple(parts) => in_parts(parts, lent, |part, lent| part.lent(rt, lent)),
        }
    }
}

/// Where the type stands.
pub(crate) fn place(ty: &TokenStream) -> Span {
    ty.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span())
}

/// The type itself, by way of the trait that says what is wrong if it can't cross.
fn asked(rt: &TokenStream, ty: &TokenStream) -> TokenStream {
    quote_spanned!(place(ty)=> <#ty as #rt::wire::Asked>::Itself)
}

/// Types that can cross, under names that hardly anybody gives to others.
fn is_known(ty: &Type) -> bool {
    const NAMES: [&str; 18] = [
        "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
        "isize", "f32", "f64", "String", "Duration",
    ];
    match known::peel(ty) {
        Type::Tuple(tuple) => tuple.elems.iter().all(is_known),
        ty => {
            let of = known::of(ty, "Option").or_else(|| known::of(ty, "Vec"));
            of.is_some_and(is_known) || NAMES.iter().any(|name| known::is(ty, name))
        }
    }
}

/// What isn't plain.
fn special(ty: &Type) -> Option<Owned> {
    Some(Owned { shape: shape(ty)?, ty: quote!(#ty) })
}

fn shape(ty: &Type) -> Option<Shape> {
    match known::peel(ty) {
        Type::Tuple(tuple) => {
            let parts: Vec<Owned> = tuple.elems.iter().map(Owned::of).collect();
            parts.iter().any(|part| !part.is_plain()).then_some(Shape::Tuple(parts))
        }
        Type::Array(array) => {
            let (element, len) = (Box::new(Owned::of(&array.elem)), &array.len);
            let is_special = !is_short(len) || !element.is_plain();
            is_special.then(|| Shape::Array { element, len: quote!(#len) })
        }
        ty if known::is(ty, "PathBuf") => Some(Shape::Path),
        ty => {
            if let Some(element) = known::of(ty, "Vec") {
                return Some(Owned::vec_of(element).shape).filter(|shape| !matches!(shape, Shape::Asked));
            }
            if let Some(inner) = known::of(ty, "Option") {
                return Some(Shape::Option(Box::new(special(inner)?)));
            }
            Some(Shape::Result(Box::new(special(known::result_of(ty)?)?)))
        }
    }
}

/// Whether serde knows arrays of this length.
fn is_short(len: &Expr) -> bool {
    match len {
        Expr::Lit(ExprLit { lit: Lit::Int(len), .. }) => {
            len.base10_parse::<usize>().is_ok_and(|len| len <= 32)
        }
        _ => false,
    }
}

/// `map(of, |value| inner(value))`.
fn map(map: TokenStream, of: TokenStream, inner: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
    let value = Ident::new("value", Span::mixed_site());
    let inner = inner(quote!(#value));
    quote!(#map(#of, |#value| #inner))
}

/// A tuple, of this or behind this reference, part by part.
fn in_parts(
    parts: &[Owned],
    value: TokenStream,
    each: impl Fn(&Owned, TokenStream) -> TokenStream,
) -> TokenStream {
    let names: Vec<Ident> =
        (0..parts.len()).map(|index| Ident::new(&format!("part{index}"), Span::mixed_site())).collect();
    let parts = parts.iter().zip(&names).map(|(part, name)| each(part, quote!(#name)));
    quote!({ let (#(#names,)*) = #value; (#(#parts,)*) })
}
