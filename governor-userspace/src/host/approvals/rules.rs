//! Who may answer a held statement.
//!
//! The kernel says who is at the other end of the control socket; nothing here is taken from what
//! the client sends. A request names the group that its policy asks for (`@approval("dba")`):
//!
//! - root may answer for every group;
//! - where the configuration lists the group, its members may: a login name, `uid:1001`, or
//!   `group:NAME` for a Unix group;
//! - where it does not, members of the Unix group of that name may;
//! - nobody answers for a statement of their own. A person is known by uid and by login uid, so
//!   `sudo` does not turn a requester into a second person, and an AI agent with sudo rights cannot
//!   approve itself. `self_approval_as_root` lifts that last part for hosts with one administrator:
//!   then root may answer whoever logged in.
//!
//! Root's own uid 0 marks no person (everything may run as root, in a demo or a container), so a
//! statement of uid 0 without a login uid can be answered by root.

use crate::engine::approval::ApprovalRequest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The process at the other end of the control socket, as the kernel and the user database know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    pub uid: u32,
    /// Login name of `uid`; its number where the host knows no name.
    pub user: String,
    /// The uid that logged in, which survives su and sudo.
    pub login_uid: Option<u32>,
    pub login_user: Option<String>,
    /// Unix groups of `uid`, by name.
    pub groups: Vec<String>,
}

impl Approver {
    /// For records: `alice`, or `root (login alice)`.
    pub fn name(&self) -> String {
        match &self.login_user {
            Some(login) if *login != self.user => format!("{} (login {login})", self.user),
            _ => self.user.clone(),
        }
    }
}

/// From the configuration: members of approver groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApproverRules {
    /// Group name, as policies write it, to members: `alice`, `uid:1001`, `group:dba`.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Root may answer for statements of the same login.
    pub self_approval_as_root: bool,
}

/// Why an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("{user} asked for this statement, so somebody else has to answer")]
    OwnRequest { user: String },
    #[error("{user} is not in the approver group {group:?}")]
    NotMember { user: String, group: String },
}

impl ApproverRules {
    pub fn may_answer(&self, approver: &Approver, request: &ApprovalRequest) -> Result<(), NotAllowed> {
        if self.is_requester(approver, request) {
            return Err(NotAllowed::OwnRequest { user: approver.name() });
        }
        // Policies that ask for several groups join their names: whoever answers is in all of them.
        let mut groups = request.approvers.split('+');
        if approver.uid == ROOT || groups.all(|group| self.is_member(approver, group)) {
            return Ok(());
        }
        Err(NotAllowed::NotMember { user: approver.name(), group: request.approvers.clone() })
    }

    /// Only who is listed under `break_glass`; root too only where it is listed.
    pub fn may_break_glass(&self, approver: &Approver) -> bool {
        self.groups.contains_key(BREAK_GLASS) && self.is_member(approver, BREAK_GLASS)
    }

    /// Root, and who is listed under `data` in the configuration.
    pub fn may_rule_data(&self, approver: &Approver) -> bool {
        approver.uid == ROOT || (self.groups.contains_key(DATA) && self.is_member(approver, DATA))
    }

    fn is_requester(&self, approver: &Approver, request: &ApprovalRequest) -> bool {
        if approver.uid == ROOT && self.self_approval_as_root {
            return false;
        }
        let asked_by = [Some(request.principal.uid), request.principal.login_uid];
        let answered_by = [Some(approver.uid), approver.login_uid];
        asked_by.into_iter().flatten().filter(|uid| *uid != ROOT).any(|uid| answered_by.contains(&Some(uid)))
    }

    fn is_member(&self, approver: &Approver, group: &str) -> bool {
        let Some(members) = self.groups.get(group) else {
            return approver.groups.iter().any(|name| name == group);
        };
        members.iter().any(|member| {
            if let Some(uid) = member.strip_prefix("uid:") {
                uid.parse() == Ok(approver.uid)
            } else if let Some(name) = member.strip_prefix("group:") {
                approver.groups.iter().any(|group| group == name)
            } else {
                *member == approver.user
            }
        })
    }
}

const ROOT: u32 = 0;
/// The group in the configuration whose members may break the glass.
const BREAK_GLASS: &str = "break_glass";
/// The group in the configuration whose members may say what columns hold.
const DATA: &str = "data";
