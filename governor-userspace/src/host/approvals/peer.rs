//! From the kernel's word about a socket's peer to an [`Approver`].

use super::Approver;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::fs;

impl Approver {
    /// Who is behind a peer credential (`SO_PEERCRED`). Asks the user database, so it may block.
    ///
    /// The uid is the kernel's; the login uid is read from the process, which is still there because
    /// it waits for our answer. Group membership is read now, so a removed member answers no more.
    pub fn of_peer(pid: i32, uid: u32, gid: u32) -> Self {
        let login_uid = fs::read_to_string(format!("/proc/{pid}/loginuid"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|uid| *uid != LOGIN_UID_UNSET);
        let user = user_name(uid);
        let groups = group_names(&user, gid);
        Self { uid, user, login_uid, login_user: login_uid.map(user_name), groups }
    }
}

fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

fn group_names(user: &str, gid: u32) -> Vec<String> {
    let gid = Gid::from_raw(gid);
    let gids =
        CString::new(user).ok().and_then(|name| getgrouplist(&name, gid).ok()).unwrap_or_else(|| vec![gid]);
    gids.into_iter().filter_map(|gid| Group::from_gid(gid).ok().flatten()).map(|group| group.name).collect()
}

/// What the kernel shows for a process that no login started.
const LOGIN_UID_UNSET: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_who_it_is() {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let approver = Approver::of_peer(std::process::id() as i32, uid, gid);
        assert_eq!(approver.user, user_name(uid));
        let own = Group::from_gid(Gid::from_raw(gid)).unwrap().unwrap().name;
        assert!(approver.groups.contains(&own), "{approver:?}");
    }

    #[test]
    fn a_uid_without_a_name_is_a_number_in_no_named_group() {
        let approver = Approver::of_peer(-1, 3_999_999_999, 3_999_999_999);
        assert_eq!((approver.name().as_str(), approver.login_uid), ("3999999999", None));
        assert!(approver.groups.is_empty());
    }
}
