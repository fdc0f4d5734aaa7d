//! Functions as numbers: how a process asks another one, which has the same code, to call one.

use std::ffi::{CStr, CString, c_int, c_void};

/// The program and the libraries that were loaded at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Modules(Vec<Module>);

/// A program or library, recognised by its place and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Module {
    base: usize,
    name: CString,
    /// Where its segments begin and how long they are.
    segments: Vec<(usize, usize)>,
}

impl Modules {
    /// Those that are loaded now. Asks the dynamic linker, which knows the program itself as well, also a static
    /// one.
    pub(crate) fn loaded() -> Modules {
        let mut modules = Vec::new();
        // SAFETY: the callback gets what it is declared with; the vector lives until after the call.
        unsafe { libc::dl_iterate_phdr(Some(list), (&raw mut modules).cast()) };
        Modules(modules)
    }

    /// Whether the functions at these addresses, which are loaded now, were so then, at the same places.
    pub(crate) fn had(&self, addresses: [usize; 2]) -> bool {
        let mut search = Search { before: self, addresses, had: 0 };
        // SAFETY: the callback gets what it is declared with; the search lives until after the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.had == addresses.len()
    }
}

impl Module {
    fn has(&self, address: usize) -> bool {
        self.segments.iter().any(|(start, length)| address.wrapping_sub(*start) < *length)
    }
}

/// The address of a plain function.
pub(crate) fn address<F: Copy>(function: F) -> usize {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: of the size of a pointer, which a plain function's value is.
    unsafe { std::mem::transmute_copy(&function) }
}

/// The function at an address that [`address`] gave, in this process or in one of which this is a copy.
/// The caller sees to it that `F` is the type which it had there, and that it is loaded here as well
/// ([`Modules::had`]).
pub(crate) fn at<F: Copy>(address: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: as the caller promises.
    unsafe { std::mem::transmute_copy(&address) }
}

struct Search<'a> {
    before: &'a Modules,
    addresses: [usize; 2],
    /// How many of them were found.
    had: usize,
}

/// On the way of each start from a zygote: it allocates nothing.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: libc::size_t, search: *mut c_void) -> c_int {
    // SAFETY: the linker's description of one module, valid for this call, and the search that `had` began.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
    let base = info.dlpi_addr as usize;
    let Some(before) = search.before.0.iter().find(|module| module.base == base) else { return 0 };
    // SAFETY: not null, so a text that ends with a NUL.
    let name = if info.dlpi_name.is_null() { c"" } else { unsafe { CStr::from_ptr(info.dlpi_name) } };
    if before.name.as_c_str() == name {
        search.had += search.addresses.iter().filter(|address| before.has(**address)).count();
    }
    0
}

unsafe extern "C" fn list(info: *mut libc::dl_phdr_info, _: libc::size_t, modules: *mut c_void) -> c_int {
    // SAFETY: the linker's description of one module, valid for this call, and the vector that `loaded` made.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<Module>>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the linker says how many headers there are.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let segments = segments
        .map(|header| (base.wrapping_add(header.p_vaddr as usize), header.p_memsz as usize))
        .collect();
    let name = match info.dlpi_name.is_null() {
        true => CString::default(),
        // SAFETY: not null, so a text that ends with a NUL.
        false => unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned(),
    };
    modules.push(Module { base, name, segments });
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(number: u32) -> u32 {
        number * 2
    }

    #[test]
    fn a_function_is_found_again_by_its_address() {
        let double = address(double as fn(u32) -> u32);
        assert_eq!(at::<fn(u32) -> u32>(double)(21), 42);
        let modules = Modules::loaded();
        let in_libc = address(libc::getpid as unsafe extern "C" fn() -> i32);
        assert!(modules.had([double, in_libc]));
        // One that was loaded later, or has taken the place of another one.
        let mut others = modules.clone();
        others.0.retain(|module| !module.has(in_libc));
        assert!(others.had([double, double]) && !others.had([double, in_libc]));
        let mut others = modules;
        others.0.iter_mut().for_each(|module| module.name = c"another".to_owned());
        assert!(!others.had([in_libc, in_libc]));
    }

    #[test]
    fn what_is_in_no_module_is_not_found() {
        let on_the_stack = 7;
        let modules = Modules::loaded();
        assert!(!modules.had([&raw const on_the_stack as usize; 2]) && !modules.had([8; 2]));
    }
}
