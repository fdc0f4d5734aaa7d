//! What stands in the brackets of `#[bridge(..)]`.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, ImplItem, ItemImpl, LitInt, LitStr, Meta, Path, Token, Type, Visibility};

use crate::attributes::conditional;
use crate::problems::Problems;

/// More of them than that are a mistake, such as a number of jobs.
const THREADS_MAX: usize = 1024;

/// Those of a block.
#[derive(Default)]
pub(crate) struct BlockOptions {
    /// That of the bridge; above a trait's block, the way to it.
    pub(crate) name: Option<Path>,
    pub(crate) vis: Option<Visibility>,
    pub(crate) traits: Vec<Path>,
    pub(crate) fields: Vec<Field>,
    pub(crate) krate: Option<Path>,
    /// How many, if more than one.
    pub(crate) threads: Option<usize>,
    /// Where the word stands.
    pub(crate) implement: Option<Span>,
    /// The first of those that only a block without a trait has.
    pub(crate) main_only: Option<Ident>,
}

/// A field that the bridge gives access to.
pub(crate) struct Field {
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> syn::Result<Field> {
        let vis = input.parse()?;
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Field { vis, name, ty: input.parse()? })
    }
}

impl BlockOptions {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<BlockOptions> {
        let mut options = BlockOptions::default();
        let mut seen = Vec::new();
        each_option(&mut seen, |word, input| {
            match word.to_string().as_str() {
                "name" => options.name = Some(name(input, Path::parse_mod_style)?),
                "vis" => {
                    input.parse::<Token![=]>()?;
                    options.vis = Some(input.parse()?);
                }
                "crate" => {
                    input.parse::<Token![=]>()?;
                    options.krate = Some(input.call(Path::parse_mod_style)?);
                }
                "traits" => options.traits = list(input, Path::parse)?,
                "fields" => options.fields = list(input, Field::parse)?,
                "threads" => {
                    input.parse::<Token![=]>()?;
                    options.threads = threads(&input.parse()?)?;
                }
                "implement" => options.implement = Some(word.span()),
                "skip" | "rename" | "one_way" | "remote_error" => {
                    return Err(syn::Error::new(word.span(), format!("`{word}` belongs to a method of the block")));
                }
                _ => {
                    let known = "`name`, `vis`, `traits(..)`, `fields(..)`, `threads`, `crate`; and `implement` where a trait is \
                                 implemented";
                    return Err(unknown(word, known));
                }
            }
            if word == "traits" || word == "fields" || word == "threads" {
                options.main_only.get_or_insert(word.clone());
            }
            Ok(())
        })
        .parse2(tokens)?;
        Ok(options)
    }
}

/// Those of a method.
#[derive(Default)]
pub(crate) struct MethodOptions {
    pub(crate) skip: bool,
    pub(crate) rename: Option<Ident>,
    pub(crate) one_way: Option<Span>,
    pub(crate) remote_error: Option<Span>,
}

impl MethodOptions {
    /// Of each function of the block, if they can be read. The block is without them then.
    pub(crate) fn take_all(block: &mut ItemImpl, problems: &mut Problems) -> Vec<Option<MethodOptions>> {
        let functions = block.items.iter_mut().filter_map(|item| match item {
            ImplItem::Fn(function) => Some(function),
            _ => None,
        });
        functions.map(|function| problems.check(MethodOptions::take(&mut function.attrs))).collect()
    }

    fn take(attributes: &mut Vec<Attribute>) -> syn::Result<MethodOptions> {
        let mut options = MethodOptions::default();
        let mut seen = Vec::new();
        let (own, others) = std::mem::take(attributes).into_iter().partition::<Vec<_>, _>(is_bridge);
        *attributes = others;
        for attribute in own {
            if !is_named_bridge(attribute.path()) {
                return Err(syn::Error::new_spanned(
                    attribute,
                    "`#[bridge(..)]` on a method can't depend on a `cfg`: write two methods, with a `#[cfg]` each",
                ));
            }
            // Without brackets it says nothing.
            let Meta::List(list) = &attribute.meta else { continue };
            each_option(&mut seen, |word, input| {
                match word.to_string().as_str() {
                    "skip" => options.skip = true,
                    "rename" => options.rename = Some(name(input, Ident::parse)?),
                    "one_way" => options.one_way = Some(word.span()),
                    "remote_error" => options.remote_error = Some(word.span()),
                    "name" | "vis" | "crate" | "traits" | "fields" | "threads" | "implement" => {
                        return Err(syn::Error::new(
                            word.span(),
                            format!(
                                "`{word}` belongs to the whole block: write it in the attribute above `impl`"
                            ),
                        ));
                    }
                    _ => return Err(unknown(word, "`skip`, `rename`, `one_way`, `remote_error`")),
                }
                Ok(())
            })
            .parse2(list.tokens.clone())?;
        }
        Ok(options)
    }
}

/// `#[bridge]`, by whichever path and under whichever condition.
fn is_bridge(attribute: &Attribute) -> bool {
    is_named_bridge(attribute.path())
        || conditional(attribute).iter().any(|meta| is_named_bridge(meta.path()))
}

fn is_named_bridge(path: &Path) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == "bridge")
}

fn unknown(word: &Ident, known: &str) -> syn::Error {
    syn::Error::new(word.span(), format!("there is no option `{word}`; there are {known}"))
}

/// Words, each with what `option` reads behind it, between commas; none twice.
fn each_option<'a>(
    seen: &'a mut Vec<Ident>,
    mut option: impl FnMut(&Ident, ParseStream<'_>) -> syn::Result<()> + 'a,
) -> impl Parser<Output = ()> + 'a {
    move |input: ParseStream<'_>| {
        while !input.is_empty() {
            // `crate` is a keyword.
            let word = input.call(Ident::parse_any)?;
            if seen.contains(&word) {
                return Err(syn::Error::new(word.span(), format!("`{word}` was said before")));
            }
            option(&word, input)?;
            seen.push(word);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }
}

/// So many, if that is more than one.
fn threads(count: &LitInt) -> syn::Result<Option<usize>> {
    match count.base10_parse::<usize>()? {
        1 => Ok(None),
        several @ 2..=THREADS_MAX => Ok(Some(several)),
        _ => Err(syn::Error::new(count.span(), format!("an object has 1 to {THREADS_MAX} threads"))),
    }
}

/// `= Name` or `= "name"`.
fn name<T: Parse>(input: ParseStream<'_>, name: fn(ParseStream<'_>) -> syn::Result<T>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    if input.peek(LitStr) { input.parse::<LitStr>()?.parse() } else { name(input) }
}

fn list<T>(input: ParseStream<'_>, element: fn(ParseStream<'_>) -> syn::Result<T>) -> syn::Result<Vec<T>> {
    let content;
    syn::parenthesized!(content in input);
    Ok(Punctuated::<T, Token![,]>::parse_terminated_with(&content, element)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn a_block_has_options() {
        let options = BlockOptions::parse(quote!(
            name = Remote,
            vis = pub(crate),
            traits(Store, fmt::Display),
            fields(pub label: String, count: u32,),
            crate = ::umbrella::bridge,
        ))
        .unwrap();
        assert!(options.name.unwrap().is_ident("Remote"));
        assert!(matches!(options.vis, Some(Visibility::Restricted(_))));
        assert_eq!((options.traits.len(), options.fields.len()), (2, 2));
        assert!(options.krate.is_some() && options.implement.is_none());
    }

    #[test]
    fn what_is_wrong_with_options_is_said() {
        let text = |tokens| BlockOptions::parse(tokens).err().unwrap().to_string();
        assert!(text(quote!(nmae = X)).starts_with("there is no option `nmae`; there are `name`"));
        assert!(text(quote!(one_way)).contains("belongs to a method"));
        assert!(text(quote!(implement, implement)).contains("said before"));
    }

    #[test]
    fn the_options_of_a_method_are_taken() {
        let method: syn::ImplItemFn = syn::parse_quote! {
            /// Text.
            #[bridge(one_way)]
            #[inline]
            #[cross_process_bridge::bridge(rename = "other")]
            fn method(&self) {}
        };
        let mut attributes = method.attrs;
        let options = MethodOptions::take(&mut attributes).unwrap();
        assert!(options.one_way.is_some() && !options.skip && options.rename.unwrap() == "other");
        assert_eq!(attributes.len(), 2);
    }
}
