//! The first line of a block: which type it is about, with which parameters.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::{GenericArgument, GenericParam, Generics, Ident, ItemImpl, Path, PathArguments, parse_quote};

use crate::crate_path::Runtime;
use crate::known;
use crate::options::BlockOptions;

/// The path of the object's type.
pub(crate) fn object(item: &ItemImpl) -> syn::Result<Path> {
    if let Some(word) = &item.unsafety {
        return Err(syn::Error::new_spanned(
            word,
            "an unsafe trait can't be bridged, since what it promises is about this process: leave out `#[bridge]`",
        ));
    }
    let Some(path) = known::path(&item.self_ty) else {
        return Err(syn::Error::new_spanned(
            &item.self_ty,
            "only a type that has a name can be bridged: put what you have here into a struct",
        ));
    };
    if let Some(PathArguments::AngleBracketed(arguments)) = path.segments.last().map(|last| &last.arguments) {
        let borrowed = arguments.args.iter().find(|argument| match argument {
            GenericArgument::Lifetime(lifetime) => lifetime.ident != "static",
            _ => false,
        });
        if let Some(lifetime) = borrowed {
            return Err(borrows(lifetime));
        }
    }
    Ok(path.clone())
}

fn borrows(at: impl ToTokens) -> syn::Error {
    syn::Error::new_spanned(
        at,
        "what lives in another process can't borrow from this one: let the type own what it has, such as a `String` \
         for a `&str`",
    )
}

/// The bridge's path. The type's own block declares it where it stands; other blocks find it where the type is.
pub(crate) fn bridge(item: &ItemImpl, object: &Path, options: &BlockOptions) -> syn::Result<Path> {
    let of_trait = item.trait_.is_some();
    match &options.name {
        Some(name) if !of_trait && name.get_ident().is_none() => Err(syn::Error::new_spanned(
            name,
            "the bridge is declared here, so its name can't have a way: move the block to where the bridge is to be",
        )),
        Some(name) => Ok(name.clone()),
        None => {
            let mut bridge = object.clone();
            let Some(last) = bridge.segments.last_mut() else { return Ok(bridge) };
            last.ident = format_ident!("{}Bridge", last.ident);
            last.arguments = PathArguments::None;
            Ok(if of_trait { bridge } else { Path::from(last.clone()) })
        }
    }
}

/// The block's parameters and bounds. What a parameter stands for has to be able to cross.
pub(crate) fn generics(item: &ItemImpl, runtime: &Runtime) -> syn::Result<Generics> {
    if let Some(lifetime) = item.generics.lifetimes().next() {
        return Err(borrows(lifetime));
    }
    let mut generics = item.generics.clone();
    let rt = &runtime.rt;
    let names: Vec<Ident> = generics.type_params().map(|parameter| parameter.ident.clone()).collect();
    if !names.is_empty() {
        let clause = generics.make_where_clause();
        clause.predicates.extend(
            names.iter().map(|name| -> syn::WherePredicate {
                parse_quote!(#name: #rt::Crosses + ::core::marker::Send)
            }),
        );
    }
    Ok(generics)
}

/// The names of the parameters, in the order in which the object's type mentions them: two blocks may call and order
/// theirs in different ways.
pub(crate) fn parameters(item: &ItemImpl) -> Vec<Ident> {
    let mut words = Vec::new();
    words_of(item.self_ty.to_token_stream(), &mut words);
    let place = |name: &Ident| words.iter().position(|word| word == name);
    let mut names: Vec<Ident> = item
        .generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(parameter.ident.clone()),
            GenericParam::Const(parameter) => Some(parameter.ident.clone()),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    names
}

fn words_of(tokens: TokenStream, words: &mut Vec<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => words.push(word),
            TokenTree::Group(group) => words_of(group.stream(), words),
            _ => {}
        }
    }
}

/// Whether the options are those of such a block.
pub(crate) fn options_fit(item: &ItemImpl, options: &BlockOptions) -> syn::Result<()> {
    match (&item.trait_, options.implement, &options.main_only) {
        (None, Some(span), _) => Err(syn::Error::new(
            span,
            "`implement` belongs above an implementation of a trait: `#[bridge(implement)] impl Trait for Type`",
        )),
        (Some((path, _)), _, _)
            if ["Display", "Debug"].iter().any(|name| known::segment(path, name).is_some()) =>
        {
            Err(syn::Error::new_spanned(
                path,
                "this implementation needs no `#[bridge]`: list the trait in the attribute of the type's own block, as \
                 in `#[bridge(traits(Display, Debug))]`",
            ))
        }
        (Some(_), _, Some(word)) => Err(syn::Error::new(
            word.span(),
            format!("`{word}` belongs above the type's own block, the one without a trait"),
        )),
        _ => Ok(()),
    }
}
