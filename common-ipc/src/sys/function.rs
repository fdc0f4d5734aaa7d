//! Functions as numbers: how a process asks another one, which has the same code, to call one.

use std::ffi::{CStr, c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// Where a function is, and in what: a program or library is recognised by its place and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    address: usize,
    module: Module,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Module {
    base: usize,
    name: u64,
}

impl Place {
    /// That of a function in a program or library that is loaded. `None`: it was made at run time.
    pub(crate) fn of(address: usize) -> Option<Place> {
        Some(Place { address, module: Module::around(address)? })
    }

    /// The address, if what is there in this process is the same program or library.
    pub(crate) fn here(self) -> Option<usize> {
        (Module::around(self.address) == Some(self.module)).then_some(self.address)
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
/// ([`Place::here`]).
pub(crate) fn at<F: Copy>(address: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: as the caller promises.
    unsafe { std::mem::transmute_copy(&address) }
}

impl Module {
    /// Asks the dynamic linker, which knows the program and all libraries, also of a static program.
    fn around(address: usize) -> Option<Module> {
        let mut search = Search { address, found: None };
        // SAFETY: the callback gets what it is declared with; search lives until after the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.found
    }
}

struct Search {
    address: usize,
    found: Option<Module>,
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: libc::size_t, search: *mut c_void) -> c_int {
    // SAFETY: the linker's description of one module, valid for this call, and the search that `around` began.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the linker says how many headers there are.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let is_inside = headers.iter().any(|header| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        header.p_type == libc::PT_LOAD && search.address.wrapping_sub(start) < header.p_memsz as usize
    });
    if is_inside {
        let mut hasher = DefaultHasher::new();
        if !info.dlpi_name.is_null() {
            // SAFETY: not null, so a text that ends with a NUL.
            unsafe { CStr::from_ptr(info.dlpi_name) }.hash(&mut hasher);
        }
        search.found = Some(Module { base, name: hasher.finish() });
    }
    c_int::from(is_inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(number: u32) -> u32 {
        number * 2
    }

    #[test]
    fn a_function_is_found_again_by_its_address() {
        let place = Place::of(address(double as fn(u32) -> u32)).unwrap();
        assert_eq!(at::<fn(u32) -> u32>(place.here().unwrap())(21), 42);
        let in_libc = Place::of(address(libc::getpid as unsafe extern "C" fn() -> i32)).unwrap();
        assert_ne!(place.module, in_libc.module);
        // Where other code is than there was when it was asked for.
        let moved = Place { address: place.address, module: in_libc.module };
        assert_eq!(moved.here(), None);
    }

    #[test]
    fn what_is_in_no_module_has_no_place() {
        let on_the_stack = 7;
        assert_eq!(Place::of(&raw const on_the_stack as usize), None);
        assert_eq!(Place::of(8), None);
    }
}
