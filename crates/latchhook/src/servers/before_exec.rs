//! What a server's process does to itself between `fork` and `exec`. The one spot in latchhook with `unsafe`.
//!
//! Two things must happen exactly there, and std leaves them to `pre_exec`, which is unsafe because the child of a
//! process with several threads may only make plain system calls: no allocation, no locks. That is all that is done here.
//!
//! * The kernel is asked to stop the server when its parent dies. Earlier it would concern us, later it is too late.
//! * Postgres refuses to run as root, so a root user's Postgres enters a user namespace of its own, in which it is nobody.
//!   It keeps root's rights to root's own files, hence needs no other user and no chown, wherever the clone may lie. This
//!   is a convenience for containers and CI, not a sandbox.

use std::{os::unix::process::CommandExt, process::Command};

use rustix::process::Signal;

/// Whose rights a server runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Those of this process.
    Ours,
    /// Of nobody, in a user namespace of its own.
    OwnNamespace,
    /// Of the user `nobody`, who must be able to reach the files.
    Nobody,
}

/// The uid and gid of `nobody` on Linux; also what the kernel shows for users that a namespace does not know.
pub(super) const NOBODY: u32 = 65534;

/// Arranges that the command's process gets these rights, and `last_signal` when the thread that spawned it ends.
#[expect(unsafe_code, reason = "pre_exec is the only way to act in the child before exec")]
pub(super) fn arrange(command: &mut Command, rights: Rights, last_signal: Signal) {
    if rights == Rights::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    let parent = rustix::process::getpid();
    // SAFETY: the closure makes system calls on plain values and nothing else, as a forked child may. Leaving the user
    // namespace of its threads, which `unshare_unsafe` warns of, concerns only this child, which has one thread.
    unsafe {
        command.pre_exec(move || {
            if rights == Rights::OwnNamespace {
                enter_own_namespace()?;
            }
            die_with(parent, last_signal)
        });
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "see `arrange`, its only caller")]
fn enter_own_namespace() -> std::io::Result<()> {
    // SAFETY: as `arrange` says.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER)? };
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn enter_own_namespace() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Comes after every change of user, which would clear it.
#[cfg(target_os = "linux")]
fn die_with(parent: rustix::process::Pid, signal: Signal) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // Had the parent died before the line above, no signal would ever come.
    match rustix::process::getppid() {
        Some(now) if now == parent => Ok(()),
        _ => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_parent: rustix::process::Pid, _signal: Signal) -> std::io::Result<()> {
    Ok(())
}
