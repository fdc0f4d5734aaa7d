//! An argument: how it is written, what crosses for it, what the method is called with.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Pat, PatType, Type};

use crate::check;
use crate::closure::{self, Closure, Parameters};
use crate::known;
use crate::opaque::{self, Opaque};
use crate::owned::Owned;

/// An argument of a bridged method.
pub(crate) struct Argument {
    /// What the bridge's method calls it.
    pub(crate) name: Ident,
    /// What the user's method calls its type, which is what the bridge's calls it, too.
    pub(crate) ty: Type,
    /// What is made of it before it is anything else, if it is an `impl Trait`.
    opaque: Option<Opaque>,
    form: Form,
    /// What crosses, and what the child holds.
    held: Owned,
    /// If it is one: then it crosses not at all.
    pub(crate) closure: Option<Closure>,
}

/// How it is lent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    /// `&X`.
    Borrow {
        deref: bool,
    },
    /// `&mut X`.
    BorrowMut {
        deref: bool,
    },
    /// `Option<&X>`.
    OptionBorrow {
        deref: bool,
    },
    /// `Cow<'_, X>`.
    Cow,
}

impl Argument {
    /// `index` makes a name where a pattern has none. `parameters`: those of the method that are closures' types.
    pub(crate) fn of(
        argument: &PatType,
        ty: Type,
        index: usize,
        parameters: &Parameters,
    ) -> syn::Result<Argument> {
        if let Some(closure) = closure::of(&ty, parameters)? {
            let held = Owned::plain(closure.wire());
            let (name, form) = (name(&argument.pat, index), Form::Value);
            return Ok(Argument { name, ty, opaque: None, form, held, closure: Some(closure) });
        }
        Argument::plain(argument, ty, index)
    }

    /// One that isn't a closure.
    pub(crate) fn plain(argument: &PatType, ty: Type, index: usize) -> syn::Result<Argument> {
        if let Some(attribute) = argument.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            return Err(syn::Error::new_spanned(
                attribute,
                "an argument of a bridged method is there always or never: write two methods, with a `#[cfg]` each",
            ));
        }
        let opaque = match known::peel(&ty) {
            Type::ImplTrait(opaque) => Some(opaque::of(opaque)?),
            _ => None,
        };
        let (form, held) = form(opaque.as_ref().map_or(&ty, |opaque| &opaque.made))?;
        Ok(Argument { name: name(&argument.pat, index), ty, opaque, form, held, closure: None })
    }

    /// Whether it is written back.
    pub(crate) fn comes_back(&self) -> bool {
        matches!(self.form, Form::BorrowMut { .. })
    }

    /// The type as which the child reads it, and as which it comes back.
    pub(crate) fn wire(&self, rt: &TokenStream) -> TokenStream {
        let wire = self.held.wire(rt);
        match self.form {
            Form::OptionBorrow { .. } => quote!(::core::option::Option<#wire>),
            _ => wire,
        }
    }

    /// Where the compiler is asked whether it crosses.
    pub(crate) fn asked_at(&self) -> Option<Span> {
        self.held.asked_at()
    }

    /// In the bridge's method, a statement before all others.
    pub(crate) fn prepare(&self) -> TokenStream {
        if let Some(closure) = &self.closure {
            return closure.prepare(&self.name);
        }
        self.opaque.as_ref().map(|opaque| opaque.make(&self.name)).unwrap_or_default()
    }

    /// What is serialised.
    pub(crate) fn sent(&self, rt: &TokenStream) -> TokenStream {
        let name = &self.name;
        if let Some(closure) = &self.closure {
            return closure.sent(name);
        }
        match self.form {
            Form::Value if self.held.is_plain() => quote!(&#name),
            Form::Value => self.held.to_wire(rt, quote!(#name)),
            Form::Borrow { .. } => self.held.lent(rt, quote!(#name)),
            Form::BorrowMut { .. } | Form::Cow => self.held.lent(rt, quote!(&*#name)),
            Form::OptionBorrow { .. } if self.held.is_plain() => quote!(#name),
            Form::OptionBorrow { .. } => mapped(quote!(#name), |lent| self.held.lent(rt, lent)),
        }
    }

    /// What is kept to be sent again and again, with the same type as what the child reads.
    pub(crate) fn kept(&self, rt: &TokenStream) -> TokenStream {
        let name = &self.name;
        let own = |deref: bool, lent: TokenStream| {
            let owned = match deref {
                true => quote!(::std::borrow::ToOwned::to_owned(#lent)),
                false => quote!(::core::clone::Clone::clone(#lent)),
            };
            self.held.to_wire(rt, owned)
        };
        match self.form {
            Form::Value => self.held.to_wire(rt, quote!(#name)),
            Form::Borrow { deref } | Form::BorrowMut { deref } => own(deref, quote!(#name)),
            Form::Cow => self.held.to_wire(rt, quote!(::std::borrow::Cow::into_owned(#name))),
            Form::OptionBorrow { deref } => mapped(quote!(#name), |lent| own(deref, lent)),
        }
    }

    /// In the child: what came, as what is held during the call.
    pub(crate) fn held(&self, rt: &TokenStream, came: &Ident) -> TokenStream {
        let mutable = self.comes_back().then(|| quote!(mut));
        let held = match self.form {
            _ if self.held.is_plain() && mutable.is_none() => return TokenStream::new(),
            Form::OptionBorrow { .. } => mapped(quote!(#came), |came| self.held.of_wire(rt, came)),
            _ => self.held.of_wire(rt, quote!(#came)),
        };
        quote!(let #mutable #came = #held;)
    }

    /// In the child: what the method is called with.
    pub(crate) fn passed(&self, rt: &TokenStream, held: &Ident) -> TokenStream {
        if let Some(closure) = &self.closure {
            return closure.passed(held);
        }
        let deref = matches!(self.form, Form::Borrow { deref: true });
        if let Some(passed) = self.opaque.as_ref().and_then(|opaque| opaque.passed(rt, held, deref)) {
            return passed;
        }
        match self.form {
            Form::Value => quote!(#held),
            Form::Borrow { deref: true } => quote!(&*#held),
            Form::Borrow { deref: false } => quote!(&#held),
            Form::BorrowMut { deref: true } => quote!(&mut *#held),
            Form::BorrowMut { deref: false } => quote!(&mut #held),
            Form::OptionBorrow { deref: true } => quote!(::core::option::Option::as_deref(&#held)),
            Form::OptionBorrow { deref: false } => quote!(::core::option::Option::as_ref(&#held)),
            Form::Cow => quote!(::std::borrow::Cow::Owned(#held)),
        }
    }

    /// In the child, after the call: what goes back.
    pub(crate) fn back(&self, rt: &TokenStream, held: &Ident) -> TokenStream {
        self.held.to_wire(rt, quote!(#held))
    }

    /// Of what came back to the method of this name, before anything is written: whether it can be.
    pub(crate) fn fits(&self, rt: &TokenStream, came: &Ident, method: &str) -> TokenStream {
        let name = &self.name;
        match self.form {
            Form::BorrowMut { deref: true } => {
                quote!(#rt::wire::same_length(#name.len(), #came.len(), #method)?;)
            }
            _ => TokenStream::new(),
        }
    }

    /// Writes what came back.
    pub(crate) fn write(&self, rt: &TokenStream, came: &Ident) -> TokenStream {
        let name = &self.name;
        let value = self.held.of_wire(rt, quote!(#came));
        match self.form {
            Form::BorrowMut { deref: true } => quote!(#rt::wire::copy_back(#name, #value);),
            _ => quote!(*#name = #value;),
        }
    }
}

/// `Option::map` of something that is lent.
fn mapped(option: TokenStream, each: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
    let value = Ident::new("value", Span::mixed_site());
    let each = each(quote!(#value));
    quote!(::core::option::Option::map(#option, |#value| #each))
}

/// The name that the pattern gives, or a fresh one, which can't be one of the user's.
fn name(pattern: &Pat, index: usize) -> Ident {
    match pattern {
        Pat::Ident(pattern) => pattern.ident.clone(),
        Pat::Paren(pattern) => name(&pattern.pat, index),
        _ => Ident::new(&format!("argument{}", index + 1), Span::mixed_site()),
    }
}

fn form(ty: &Type) -> syn::Result<(Form, Owned)> {
    check::argument(ty)?;
    match known::peel(ty) {
        Type::Reference(reference) => {
            let (held, deref) = behind(&reference.elem);
            match reference.mutability {
                None => Ok((Form::Borrow { deref }, held)),
                Some(_) if deref && !matches!(known::peel(&reference.elem), Type::Slice(_)) => {
                    Err(syn::Error::new_spanned(
                        ty,
                        "what is behind this reference can't be written back, since it can't be replaced whole: take \
                         the owned type, as in `&mut String`",
                    ))
                }
                Some(_) => Ok((Form::BorrowMut { deref }, held)),
            }
        }
        ty => {
            if let Some(Type::Reference(inner)) = known::of(ty, "Option").map(known::peel) {
                let (held, deref) = behind(&inner.elem);
                return Ok((Form::OptionBorrow { deref }, held));
            }
            if let Some(inner) = known::of(ty, "Cow") {
                return Ok((Form::Cow, behind(inner).0));
            }
            Ok((Form::Value, Owned::of(ty)))
        }
    }
}

/// What is held to lend a `&ty`, and whether that is what it dereferences to.
fn behind(ty: &Type) -> (Owned, bool) {
    match known::peel(ty) {
        Type::Slice(slice) => (Owned::vec_of(&slice.elem), true),
        ty if known::is(ty, "str") => (Owned::plain(quote!(::std::string::String)), true),
        ty if known::is(ty, "Path") => (Owned::path(), true),
        ty if known::is(ty, "OsStr") => (Owned::plain(quote!(::std::ffi::OsString)), true),
        ty if known::is(ty, "CStr") => (Owned::plain(quote!(::std::ffi::CString)), true),
        ty => (Owned::of(ty), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::{FnArg, parse_quote};

    fn argument(written: FnArg) -> Argument {
        let FnArg::Typed(written) = written else { panic!("it has a type") };
        Argument::of(&written, (*written.ty).clone(), 0, &Parameters::default()).unwrap()
    }

    /// An argument `x`: what is read, what is sent, what is passed for what is held as `h`.
    fn forms(written: FnArg) -> [String; 3] {
        let (argument, rt, held) = (argument(written), quote!(rt), Ident::new("h", Span::call_site()));
        let forms = [argument.wire(&rt), argument.sent(&rt), argument.passed(&rt, &held)];
        forms.map(|tokens| tokens.to_string().replace(' ', ""))
    }

    #[test]
    fn each_form_has_its_way() {
        let text = "::std::string::String";
        assert_eq!(forms(parse_quote!(x: u8)), ["u8", "&x", "h"]);
        assert_eq!(forms(parse_quote!(x: Job)), ["<Jobasrt::wire::Asked>::Itself", "&x", "h"]);
        assert_eq!(forms(parse_quote!(x: &u8)), ["u8", "x", "&h"]);
        assert_eq!(forms(parse_quote!(x: &str)), [text, "x", "&*h"]);
        assert_eq!(forms(parse_quote!(x: &mut u8)), ["u8", "&*x", "&muth"]);
        assert_eq!(forms(parse_quote!(x: &mut [u8])), ["rt::Bytes", "rt::wire::ByteSlice(&*x)", "&mut*h"]);
        assert_eq!(
            forms(parse_quote!(x: Vec<u8>)),
            ["rt::Bytes", "<rt::Bytesas::core::convert::From<_>>::from(x)", "h"]
        );
        assert_eq!(forms(parse_quote!(x: &Vec<u8>)), ["rt::Bytes", "rt::wire::ByteSlice(x)", "&h"]);
        let path = "::std::ffi::OsString";
        assert_eq!(forms(parse_quote!(x: &Path)), [path, "::std::path::Path::as_os_str(x)", "&*h"]);
        let path = "<graph::Pathasrt::wire::Asked>::Itself";
        assert_eq!(forms(parse_quote!(x: &graph::Path)), [path, "x", "&h"]);
        let (maybe, lent) = ("::core::option::Option<u8>", "::core::option::Option::as_ref(&h)");
        assert_eq!(forms(parse_quote!(x: Option<&u8>)), [maybe, "x", lent]);
        assert_eq!(forms(parse_quote!(x: Cow<'_, str>)), [text, "&*x", "::std::borrow::Cow::Owned(h)"]);
        assert_eq!(forms(parse_quote!(x: impl Into<String>)), ["String", "&x", "h"]);
        assert_eq!(forms(parse_quote!(x: impl AsRef<str>)), [text, "x", "h"]);
        assert_eq!(forms(parse_quote!(x: impl AsRef<u8>)), ["u8", "x", "rt::wire::Lends(h)"]);
        assert_eq!(forms(parse_quote!(x: [u8; 32])), ["<[u8;32]asrt::wire::Asked>::Itself", "&x", "h"]);
        assert_eq!(forms(parse_quote!(x: [u8; 33])), ["rt::wire::Array<u8,{33}>", "rt::wire::Array(x)", "h"]);
    }

    #[test]
    fn a_pattern_has_a_name() {
        assert_eq!(argument(parse_quote!(mut x: u8)).name, "x");
        assert_eq!(argument(parse_quote!(_: u8)).name, "argument1");
        assert_eq!(argument(parse_quote!((x, y): (u8, u8))).name, "argument1");
    }
}
