//! Arguments that are closures: they stay with the caller, and the method has what calls them there.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    GenericParam, Generics, ParenthesizedGenericArguments, PatType, PathArguments, ReturnType, Type,
    TypeParamBound, WherePredicate, parse_quote,
};

use crate::argument::Argument;
use crate::check;
use crate::expand::parts::{hidden, numbered, tuple};
use crate::known;
use crate::result::Returned;

/// What closures that can't be lent are told.
const LENT: &str = "a closure is lent to the method for the time of its call, since it runs in the caller's thread, which \
                    waits for the call";

/// A closure that a method is lent.
pub(crate) struct Closure {
    how: How,
    /// In an `Option`.
    is_optional: bool,
    /// With what it is called.
    arguments: Vec<Argument>,
    returned: Returned,
}

#[derive(Clone, Copy)]
enum How {
    Value,
    Ref,
    RefMut,
}

/// The type parameters of a method that are closures' types, and what is known of them.
#[derive(Default)]
pub(crate) struct Parameters(Vec<(Ident, Vec<TypeParamBound>)>);

impl Parameters {
    pub(crate) fn of(generics: &Generics) -> Parameters {
        let mut known = Vec::new();
        for parameter in &generics.params {
            let GenericParam::Type(parameter) = parameter else { continue };
            let mut bounds: Vec<TypeParamBound> = parameter.bounds.iter().cloned().collect();
            for predicate in generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
                if let WherePredicate::Type(bound) = predicate {
                    if known::path(&bound.bounded_ty).is_some_and(|path| path.is_ident(&parameter.ident)) {
                        bounds.extend(bound.bounds.iter().cloned());
                    }
                }
            }
            if bounds.iter().any(check::is_function) {
                known.push((parameter.ident.clone(), bounds));
            }
        }
        Parameters(known)
    }

    pub(crate) fn has(&self, name: &Ident) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    fn bounds(&self, ty: &Type) -> Option<&[TypeParamBound]> {
        let name = known::path(ty)?.get_ident()?;
        self.0.iter().find(|(known, _)| known == name).map(|(_, bounds)| &**bounds)
    }
}

/// If this argument is a closure: what is known of it.
///
/// # Errors
///
/// For those that can't be lent.
pub(crate) fn of(ty: &Type, parameters: &Parameters) -> syn::Result<Option<Closure>> {
    let (inner, is_optional) = match known::of(ty, "Option") {
        Some(inner) => (known::peel(inner), true),
        None => (known::peel(ty), false),
    };
    let (inner, how) = match inner {
        Type::Reference(reference) => {
            let how = if reference.mutability.is_some() { How::RefMut } else { How::Ref };
            (known::peel(&reference.elem), how)
        }
        inner => (inner, How::Value),
    };
    let bounds: Vec<TypeParamBound> = match inner {
        Type::ImplTrait(opaque) => opaque.bounds.iter().cloned().collect(),
        Type::TraitObject(object) if !matches!(how, How::Value) => object.bounds.iter().cloned().collect(),
        inner => match parameters.bounds(inner) {
            Some(bounds) => bounds.to_vec(),
            None => return Ok(None),
        },
    };
    if !bounds.iter().any(check::is_function) {
        return Ok(None);
    }
    let called = called(&bounds)?;
    let mut arguments = Vec::new();
    for (index, input) in called.inputs.iter().enumerate() {
        let ty: Type = syn::parse2(elided(input.ty.to_token_stream()))?;
        let name = hidden(&format!("c{index}"));
        let written: PatType = parse_quote!(#name: #ty);
        let argument = Argument::plain(&written, ty, index)?;
        if argument.comes_back() {
            return Err(syn::Error::new_spanned(
                &input.ty,
                "what a closure of the caller's changes can't be written back into the method: let it return the value",
            ));
        }
        arguments.push(argument);
    }
    let output = match &called.output {
        ReturnType::Default => Returned::unit(),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    Ok(Some(Closure { how, is_optional, arguments, returned: Returned::of(&output, None)? }))
}

/// With what it is called, and what it returns.
fn called(bounds: &[TypeParamBound]) -> syn::Result<&ParenthesizedGenericArguments> {
    let error = |at: &dyn ToTokens, text: String| Err(syn::Error::new_spanned(at.to_token_stream(), text));
    let mut found = None;
    for bound in bounds {
        match bound {
            TypeParamBound::Lifetime(lifetime) if lifetime.ident == "static" => {
                return error(bound, format!("{LENT}: leave out `'static`"));
            }
            TypeParamBound::Trait(of) => {
                let Some(last) = of.path.segments.last() else { continue };
                match (last.ident.to_string().as_str(), &last.arguments) {
                    ("Fn" | "FnMut", PathArguments::Parenthesized(called)) => found = Some(called),
                    ("FnOnce", _) => {
                        return error(
                            bound,
                            "a closure that can be called once can't be lent to another process, which might call it \
                             twice: take an `FnMut`"
                                .to_owned(),
                        );
                    }
                    ("AsyncFn" | "AsyncFnMut" | "AsyncFnOnce", _) => {
                        return error(bound, format!("{LENT}: take an `FnMut`, which isn't async"));
                    }
                    ("Sized", _) => {}
                    (name, _) => return error(bound, format!("{LENT}: leave out `{name}`")),
                }
            }
            _ => {}
        }
    }
    match found {
        Some(called) => Ok(called),
        None => Err(syn::Error::new(Span::call_site(), "write the closure's type as `FnMut(A) -> R`")),
    }
}

/// With no lifetime that has a name, but `'static`: each closure's call has its own.
fn elided(tokens: TokenStream) -> TokenStream {
    let mut changed = TokenStream::new();
    let mut is_lifetime = false;
    for token in tokens {
        let token = match token {
            TokenTree::Group(group) => {
                let mut inner = proc_macro2::Group::new(group.delimiter(), elided(group.stream()));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            TokenTree::Ident(name) if is_lifetime && name != "static" => {
                TokenTree::Ident(Ident::new("_", name.span()))
            }
            other => other,
        };
        is_lifetime = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '\'');
        changed.extend([token]);
    }
    changed
}

impl Closure {
    /// What is sent for it: whether it is there.
    pub(crate) fn wire(&self) -> TokenStream {
        if self.is_optional { quote!(::core::primitive::bool) } else { quote!(()) }
    }

    pub(crate) fn sent(&self, name: &Ident) -> TokenStream {
        if self.is_optional { quote!(&::core::option::Option::is_some(&#name)) } else { quote!(&()) }
    }

    /// In the bridge's method: so that it can be called.
    pub(crate) fn prepare(&self, name: &Ident) -> TokenStream {
        quote!(#[allow(unused_mut)] let mut #name = #name;)
    }

    /// The arm of a match that has it called, in the bridge's method.
    pub(crate) fn arm(&self, rt: &TokenStream, name: &Ident, number: u32, asked: &Ident) -> TokenStream {
        let names = numbered("c", self.arguments.len());
        let patterns: Vec<_> = names.iter().map(|name| quote!(#name)).collect();
        let (pattern, wire) = (tuple(&patterns), self.wire_of_arguments(rt));
        let each = || self.arguments.iter().zip(&names);
        let held = each().map(|(argument, name)| argument.held(rt, name));
        let passed = each().map(|(argument, name)| argument.passed(rt, name));
        let closure = hidden("closure");
        let called = if self.is_optional { quote!((*#closure)) } else { quote!(#name) };
        let returned = self.returned.to_wire(rt, quote!(#called(#(#passed),*)));
        let returns = self.returned.wire(rt);
        let call = quote!(#asked.call::<#wire, #returns>(|#pattern: #wire| { #(#held)* #returned }));
        if !self.is_optional {
            return quote!(#number => #call,);
        }
        quote! {
            #number => match &mut #name {
                ::core::option::Option::Some(#closure) => #call,
                ::core::option::Option::None => #asked.unknown(),
            },
        }
    }

    fn wire_of_arguments(&self, rt: &TokenStream) -> TokenStream {
        let wires: Vec<_> = self.arguments.iter().map(|argument| argument.wire(rt)).collect();
        tuple(&wires)
    }

    /// In the child: what calls it there, in place of what came for it.
    pub(crate) fn held(&self, rt: &TokenStream, came: &Ident, number: u32, lent: &Ident) -> TokenStream {
        let names = numbered("c", self.arguments.len());
        let types = self.arguments.iter().map(|argument| &argument.ty);
        let sent: Vec<_> = self.arguments.iter().map(|argument| argument.sent(rt)).collect();
        let (sent, wire, returns) = (tuple(&sent), self.wire_of_arguments(rt), self.returned.wire(rt));
        let ty = self.returned.ty(rt);
        let result = hidden("result");
        let value = self.returned.of_wire(rt, quote!(#result)).unwrap_or_else(|| quote!(#result));
        let (mutable, there) =
            (matches!(self.how, How::RefMut).then(|| quote!(mut)), hidden(&format!("is_{came}_there")));
        let keep = self.is_optional.then(|| quote!(let #there = #came;));
        let closure = quote! {
            |#(#names: #types),*| -> #ty {
                let #result = #lent.call::<#wire, #returns>(#number, &#sent);
                #value
            }
        };
        quote!(#keep let #mutable #came = #closure;)
    }

    /// In the child: what the method is called with.
    pub(crate) fn passed(&self, came: &Ident) -> TokenStream {
        let closure = match self.how {
            How::Value => quote!(#came),
            How::Ref => quote!(&#came),
            How::RefMut => quote!(&mut #came),
        };
        if !self.is_optional {
            return closure;
        }
        let there = hidden(&format!("is_{came}_there"));
        quote! {
            if #there { ::core::option::Option::Some(#closure) } else { ::core::option::Option::None }
        }
    }
}
