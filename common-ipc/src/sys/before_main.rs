//! A call before `main`, in the program whose source asks for it.

/// Has [`init`](crate::process::init) called before `main`, in the program whose source this stands in: for a
/// file of tests, whose `main` is the test harness, which starts threads. (It works in a program with
/// `#[tokio::main]` as well; there a plain `main` shows better what happens.)
///
/// ```
/// # #![forbid(unsafe_code)]
/// use common_ipc::process::{Launch, LaunchOptions, Zygote};
///
/// common_ipc::init_before_main!();
///
/// # /*
/// #[test]
/// # */
/// fn children_beside_the_harness() {
///     let options = LaunchOptions::new();
///     let child = Launch::new(&options).start_in(&Zygote::global(), |n: u32| n + 1, &41).unwrap();
///     assert_eq!(child.output::<u32>().unwrap(), 42);
/// }
/// # fn main() { children_beside_the_harness() }
/// ```
///
/// It is for one program: neither the library under test nor whatever else depends on it is changed. The crates
/// that re-export this one have it under their own names, e.g. `multiprocess::init_before_main!()`. If `init`
/// fails, which has nobody to tell, the first start is
/// [`StartError::NotInitialised`](crate::process::StartError::NotInitialised).
///
/// What runs before `main` has the arguments and the environment, and Rust's standard library, but for what its
/// start-up does: SIGPIPE isn't ignored yet (children follow the program in that all the same).
#[macro_export]
macro_rules! init_before_main {
    () => {
        // Run by libc's start-up code, which calls what stands in this section of a program.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static INIT_BEFORE_MAIN: extern "C" fn() = $crate::process::init_before_main;
    };
}
