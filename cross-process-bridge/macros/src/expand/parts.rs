//! What several parts of the generated code have in common.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, GenericParam, Path};

use crate::block::{Block, Of};
use crate::method::Method;

/// So many values are serialised side by side.
const TUPLE_MAX: usize = 16;

/// A tuple of types, patterns or values; of more than serde knows, a tuple of tuples.
pub(crate) fn tuple(elements: &[TokenStream]) -> TokenStream {
    if elements.len() <= TUPLE_MAX {
        return quote!((#(#elements,)*));
    }
    let groups = elements.chunks(TUPLE_MAX).map(tuple);
    quote!((#(#groups,)*))
}

/// A name that no code of the user's can mean.
pub(crate) fn hidden(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// `a0`, `a1`, ...
pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<Ident> {
    (0..count).map(|index| hidden(&format!("{prefix}{index}"))).collect()
}

/// So that no lint of the user's finds anything in generated code.
pub(crate) fn quiet() -> TokenStream {
    quote! {
        #[allow(
            dead_code,
            deprecated,
            non_snake_case,
            non_upper_case_globals,
            private_bounds,
            private_interfaces,
            unreachable_pub,
            unused_qualifications,
            rustdoc::broken_intra_doc_links,
            rustdoc::private_intra_doc_links,
            clippy::all,
            clippy::nursery,
            clippy::pedantic,
            clippy::restriction
        )]
    }
}

pub(crate) fn attributes(attributes: &[Attribute]) -> TokenStream {
    quote!(#(#attributes)*)
}

/// What the bridge's `impl`s begin with, and its type there.
pub(crate) struct ImplOf {
    /// `<T: Ord, const N: usize>`.
    pub(crate) generics: TokenStream,
    /// The same without bounds.
    pub(crate) bare: TokenStream,
    /// `where T: Crosses + Send`.
    pub(crate) clause: TokenStream,
    /// `StoreBridge<T, N>`.
    pub(crate) ty: TokenStream,
}

impl Block {
    /// Of the bridge, or of its asynchronous twin.
    pub(crate) fn impl_of(&self, bridge: &Path) -> ImplOf {
        let (generics, _, clause) = self.generics.split_for_impl();
        let bare = self.bare();
        let parameters = &self.parameters;
        let ty = if parameters.is_empty() { quote!(#bridge) } else { quote!(#bridge<#(#parameters),*>) };
        ImplOf { generics: quote!(#generics), bare, clause: quote!(#clause), ty }
    }

    /// The parameters without bounds, in the order of the object's type.
    pub(crate) fn bare(&self) -> TokenStream {
        let parameters = self.parameters.iter().filter_map(|name| {
            self.generics.params.iter().find_map(|parameter| match parameter {
                GenericParam::Type(parameter) if parameter.ident == *name => Some(quote!(#name)),
                GenericParam::Const(parameter) if parameter.ident == *name => {
                    let ty = &parameter.ty;
                    Some(quote!(const #name: #ty))
                }
                _ => None,
            })
        });
        if self.parameters.is_empty() { TokenStream::new() } else { quote!(<#(#parameters),*>) }
    }

    /// The path of the asynchronous twin.
    pub(crate) fn twin(&self) -> Path {
        let mut twin = self.bridge.clone();
        if let Some(last) = twin.segments.last_mut() {
            last.ident = format_ident!("Async{}", last.ident);
        }
        twin
    }

    /// The number of this block's interface.
    pub(crate) fn interface(&self) -> TokenStream {
        match &self.of {
            Of::Object(_) => quote!(0),
            Of::Trait(of) => {
                let (object, number) = (&self.object, interface_of(&of.name));
                quote!(<#object>::#number)
            }
        }
    }

    /// The bridge's handle, from one of its methods.
    pub(crate) fn handle(&self) -> TokenStream {
        match &self.of {
            Of::Object(_) => quote!(self.handle),
            Of::Trait(_) => quote!(self.__bridge_handle()),
        }
    }

    /// `Method::new(..)` of the method of this number.
    pub(crate) fn method(&self, number: u16, name: &Ident) -> TokenStream {
        let rt = &self.runtime.rt;
        let interface = self.interface();
        let name = self.called(name);
        quote!(#rt::Method::new(#interface, #number, #name))
    }

    /// What a method is called in errors.
    pub(crate) fn called(&self, name: &Ident) -> String {
        format!("{}::{}", self.name, name.to_string().trim_start_matches("r#"))
    }

    /// How the user's method is named in an expression.
    pub(crate) fn original(&self, method: &Method) -> TokenStream {
        let (object, name) = (&self.object, &method.name);
        match &self.of {
            Of::Object(_) => quote!(<#object>::#name),
            Of::Trait(of) => {
                let path = &of.path;
                quote!(<#object as #path>::#name)
            }
        }
    }
}

/// The constant of the bridge's that says which interface a trait is. Should the trait not be listed, the compiler
/// says its name.
pub(crate) fn number_of(name: &Ident) -> Ident {
    format_ident!("{name}_must_be_listed_in_bridge_traits", span = name.span())
}

/// The constant of the object's that has the same number.
pub(crate) fn interface_of(name: &Ident) -> Ident {
    format_ident!("__bridge_interface_of_{name}")
}

/// The function of the object's that carries out a trait's calls. Should the trait's block have no attribute, the
/// compiler says its name.
pub(crate) fn server_of(name: &Ident) -> Ident {
    format_ident!("impl_{name}_needs_the_attribute_bridge", span = name.span())
}
