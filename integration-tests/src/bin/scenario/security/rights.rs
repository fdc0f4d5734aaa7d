//! What a child has given up it can't get back: each right is tried, by a child that may have it, to show that the trial
//! is one, and by those that may not.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use common_ipc::process::{Child, Launch, LaunchOptions, Resource};
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource as NixResource, getrlimit, setrlimit};
use nix::unistd::{Gid, Pid, Uid};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed, Skipped};
use crate::servers::zygote;

scenarios!(
    security_rights_that_were_given_up_cannot_be_had_back,
    security_no_program_gives_new_privileges_where_they_are_banned,
);

const NOBODY: u32 = 65534;
/// Of the groups that `nobody` has in these scenarios, none is root's.
const GROUPS: [u32; 2] = [5, 7];

/// Where the trials find what they need; removed with it.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new() -> Place {
        let directory = std::env::temp_dir().join(format!("multiprocess-rights-{}", id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        for (name, mode, group) in [("roots", 0o600, 0), ("groups", 0o040, 0)] {
            let path = directory.join(name);
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(0), Some(group)).unwrap();
        }
        Place { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a child tries: the directory, and a process of root's.
type Trials = (PathBuf, i32);

/// The names of those that succeed.
fn tried((directory, roots): Trials) -> Vec<String> {
    let root = Uid::from_raw(0);
    let all_ids = |uid| nix::unistd::setresuid(uid, uid, uid).is_ok();
    let reads = |path: &Path| File::open(path).is_ok();
    let more_files = || {
        let (_, hard) = getrlimit(NixResource::RLIMIT_CORE).unwrap();
        // There is nothing above none.
        hard != u64::MAX && setrlimit(NixResource::RLIMIT_CORE, hard, hard + 1).is_ok()
    };
    let is_root = |field: &str| proc::status_field(id() as i32, field).split(' ').any(|id| id == "0");
    // Those that change nothing that a later one needs come first.
    let trials: [(&str, &dyn Fn() -> bool); 22] = [
        ("has an id of root", &|| is_root("Uid")),
        ("has a group id of root", &|| is_root("Gid")),
        ("is in the group of root", &|| is_root("Groups")),
        ("reads a file of root", &|| reads(&directory.join("roots"))),
        ("reads a file of root's group", &|| reads(&directory.join("groups"))),
        ("reads /etc/shadow", &|| reads(Path::new("/etc/shadow"))),
        ("writes beside it", &|| File::create(directory.join(format!("new-{}", id()))).is_ok()),
        ("looks into a process of root", &|| reads(&PathBuf::from(format!("/proc/{roots}/mem")))),
        ("has the files of a process of root", &|| {
            std::fs::read_dir(format!("/proc/{roots}/fd")).is_ok_and(|mut all| all.next().is_some())
        }),
        ("traces a process of root", &|| raw::trace(roots)),
        ("signals a process of root", &|| nix::sys::signal::kill(Pid::from_raw(roots), None).is_ok()),
        ("raises a hard limit", &more_files),
        ("is nicer to itself", &|| raw::rights::is_nicer(-5)),
        ("has a raw socket", &raw::rights::has_raw_socket),
        ("changes its root directory", &|| nix::unistd::chroot("/").is_ok()),
        ("has a capability", &|| raw::rights::has_capabilities()),
        ("raises all capabilities", &raw::rights::raise_capabilities),
        ("joins the group of root", &|| nix::unistd::setgroups(&[Gid::from_raw(0)]).is_ok()),
        ("becomes the group of root", &|| nix::unistd::setgid(Gid::from_raw(0)).is_ok()),
        ("becomes root for its files", &|| {
            nix::unistd::setfsuid(root);
            nix::unistd::setfsuid(root) == root
        }),
        ("becomes root", &|| {
            nix::unistd::seteuid(root).is_ok() || nix::unistd::setuid(root).is_ok() || all_ids(root)
        }),
        ("becomes another user", &|| all_ids(Uid::from_raw(1))),
    ];
    trials.iter().filter(|(_, trial)| trial()).map(|(name, _)| (*name).to_owned()).collect()
}

/// The same by a fork, by a template, and by a zygote: beside one that was made before, one that is made now.
fn by_all<A, O>(options: &LaunchOptions, run: fn(A) -> O, argument: &A) -> Vec<O>
where
    A: Clone + Serialize + for<'de> Deserialize<'de> + 'static,
    O: Serialize + for<'de> Deserialize<'de>,
{
    let (of_fork, of_template) = (argument.clone(), argument.clone());
    let launch = Launch::new(options);
    let template = launch.template(move || run(of_template.clone())).unwrap();
    let children: [Child; 3] = [
        launch.start(move || run(of_fork)).unwrap(),
        template.start().unwrap(),
        launch.start_in(&zygote(), run, argument).unwrap(),
    ];
    children.into_iter().map(|child| child.output().unwrap()).collect()
}

fn security_rights_that_were_given_up_cannot_be_had_back() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to give up its rights");
    }
    let place = Place::new();
    // One of root's that is none of the children.
    let roots = Launch::new(&LaunchOptions::new()).start(crate::processes::children::sleep_for_long).unwrap();
    let trials: Trials = (place.directory.clone(), roots.id() as i32);
    let plain = by_all(&LaunchOptions::new(), tried, &trials);
    let limited = |options: LaunchOptions| options.core_limit(0).limit(Resource::OpenFiles, 100, 100);
    let named = LaunchOptions::new().user("nobody").groups(GROUPS);
    let numbered = LaunchOptions::new().uid(NOBODY).gid(NOBODY);
    for options in [
        limited(named.clone()),
        limited(named.no_new_privs()),
        limited(numbered.clone().groups(GROUPS)),
        // A parent that is root gives up its groups without being told.
        limited(numbered.clone().no_new_privs()),
        numbered.process_group(common_ipc::process::ProcessGroup::NewSession),
    ] {
        for succeeded in by_all(&options, tried, &trials) {
            assert_eq!(succeeded, Vec::<String>::new(), "{options:?}");
        }
    }
    // The trials are some: who has given up nothing can do nearly all of that, as far as root can here.
    for succeeded in plain {
        let essential =
            ["reads a file of root", "becomes root", "joins the group of root", "has a capability"];
        assert!(essential.iter().all(|trial| succeeded.iter().any(|name| name == trial)), "{succeeded:?}");
        assert!(succeeded.len() > 14, "{succeeded:?}");
    }
    // Only the user, not the group: that is root's, as the options say.
    for succeeded in by_all(&LaunchOptions::new().uid(NOBODY), tried, &trials) {
        let groups = ["has a group id of root", "reads a file of root's group", "becomes the group of root"];
        assert_eq!(succeeded, groups);
    }
    roots.kill().unwrap();
    roots.wait().unwrap();
    Passed
}

/// Executes a program that is root's for whoever executes it, and says whether that reads a file of root's.
fn by_program_of_root((program, file): (PathBuf, PathBuf)) -> bool {
    Command::new(program).arg0("cat").arg(file).output().unwrap().status.success()
}

fn security_no_program_gives_new_privileges_where_they_are_banned() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to make a program of root's");
    }
    let place = Place::new();
    let program = place.path("cat");
    std::fs::copy("/bin/cat", &program).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
    let argument = (program, place.path("roots"));
    let nobody = LaunchOptions::new().uid(NOBODY).gid(NOBODY);
    if by_all(&nobody, by_program_of_root, &argument) != [true; 3] {
        return Skipped("programs of other users are only executed as such where files are mounted so");
    }
    assert_eq!(by_all(&nobody.clone().no_new_privs(), by_program_of_root, &argument), [false; 3]);
    // Of a program that has given them up itself, each child has.
    let child = Launch::new(&LaunchOptions::new()).start(move || {
        zygote();
        nix::sys::prctl::set_no_new_privs().unwrap();
        by_all(&nobody, by_program_of_root, &argument)
    });
    assert_eq!(child.unwrap().output::<Vec<bool>>().unwrap(), [false; 3]);
    Passed
}
