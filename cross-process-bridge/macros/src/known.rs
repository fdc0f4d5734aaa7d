//! Types of the standard library, recognised by how they are written.

use syn::{GenericArgument, Path, PathArguments, PathSegment, Type};

/// The type without the brackets that macros and careful people put around it.
pub(crate) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

/// The path of a type that is nothing but a path.
pub(crate) fn path(ty: &Type) -> Option<&Path> {
    match peel(ty) {
        Type::Path(path) if path.qself.is_none() => Some(&path.path),
        _ => None,
    }
}

/// The last segment of the path, if it is `name` alone or by its way through the standard library. What has
/// another way, `graph::Path` say, is another type.
pub(crate) fn segment<'a>(path: &'a Path, name: &str) -> Option<&'a PathSegment> {
    const MODULES: [&str; 13] = [
        "std", "core", "alloc", "borrow", "ffi", "option", "path", "result", "string", "vec", "fmt", "iter",
        "boxed",
    ];
    let last = path.segments.last()?;
    let mut way = path.segments.iter().take(path.segments.len() - 1);
    let known = last.ident == name && way.all(|segment| MODULES.iter().any(|module| segment.ident == module));
    known.then_some(last)
}

/// Whether the type is `name`, without arguments.
pub(crate) fn is(ty: &Type, name: &str) -> bool {
    path(ty).and_then(|path| segment(path, name)).is_some_and(|segment| segment.arguments.is_none())
}

/// `T`, of `name<T>`.
pub(crate) fn of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    match types(segment(path(ty)?, name)?).as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// `T`, of whatever is called a `Result<T, ..>`: aliases are, too.
pub(crate) fn result_of(ty: &Type) -> Option<&Type> {
    let last = path(ty)?.segments.last().filter(|segment| segment.ident == "Result")?;
    types(last).first().copied()
}

/// Whether it is a type of the standard library that exists to be changed through a shared reference. (A `Mutex` may
/// be one that processes share.)
pub(crate) fn changes_when_shared(ty: &Type) -> bool {
    let Some(last) = path(ty).and_then(|path| path.segments.last()) else { return false };
    let name = last.ident.to_string();
    ["Cell", "RefCell", "RwLock"].contains(&name.as_str()) || name.starts_with("Atomic")
}

/// The arguments that are types.
pub(crate) fn types(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn a_type_of_the_standard_library_is_known_by_each_of_its_names() {
        for ty in [parse_quote!(Path), parse_quote!(std::path::Path), parse_quote!(::std::path::Path)] {
            assert!(is(&ty, "Path"));
        }
        for ty in
            [parse_quote!(graph::Path), parse_quote!(Path<u8>), parse_quote!(PathBuf), parse_quote!(&Path)]
        {
            assert!(!is(&ty, "Path"));
        }
        let ty: Type = parse_quote!(std::borrow::Cow<'a, str>);
        assert!(is(of(&ty, "Cow").unwrap(), "str"));
        assert!(of(&parse_quote!(HashMap<u8, u8>), "HashMap").is_none());
        assert!(is(result_of(&parse_quote!(io::Result<u8>)).unwrap(), "u8"));
        assert!(is(result_of(&parse_quote!(Result<u8, E>)).unwrap(), "u8"));
        assert!(result_of(&parse_quote!(fmt::Result)).is_none());
    }
}
