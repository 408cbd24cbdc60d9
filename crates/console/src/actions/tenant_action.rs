//! What can be done with one tenant.

use tidemark_shared::ids::TenantId;

use super::Damage;
use crate::auth::who::Right;
use crate::context::Cx;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAction {
    Sync,
    Full,
    Resync,
    Verify,
    Repair,
    RetryRejects,
    Plan,
    Pause,
    Resume,
    MapInboxes,
    UnmapInboxes,
    Settings,
    Watermark,
    Forget,
    Remove,
}

impl TenantAction {
    pub const ALL: [Self; 15] = [
        Self::Sync,
        Self::Full,
        Self::Resync,
        Self::Verify,
        Self::Repair,
        Self::RetryRejects,
        Self::Plan,
        Self::Pause,
        Self::Resume,
        Self::MapInboxes,
        Self::UnmapInboxes,
        Self::Settings,
        Self::Watermark,
        Self::Forget,
        Self::Remove,
    ];

    /// The last part of its path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Full => "full",
            Self::Resync => "resync",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::RetryRejects => "retry-rejects",
            Self::Plan => "plan",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::MapInboxes => "map",
            Self::UnmapInboxes => "unmap",
            Self::Settings => "settings",
            Self::Watermark => "watermark",
            Self::Forget => "forget",
            Self::Remove => "remove",
        }
    }

    pub const fn text(self, cx: &Cx) -> &'static str {
        let a = &cx.t.actions;
        match self {
            Self::Sync => a.sync,
            Self::Full => a.full,
            Self::Resync => a.resync,
            Self::Verify => a.verify,
            Self::Repair => a.repair,
            Self::RetryRejects => a.retry_rejects,
            Self::Plan => a.plan,
            Self::Pause => a.pause,
            Self::Resume => a.resume,
            Self::MapInboxes => a.map,
            Self::UnmapInboxes => a.unmap,
            Self::Settings => a.settings,
            Self::Watermark => a.watermark,
            Self::Forget => a.forget,
            Self::Remove => a.remove,
        }
    }

    /// What it does, for its dialog.
    pub const fn effect(self, cx: &Cx) -> &'static str {
        let a = &cx.t.actions;
        match self {
            Self::Full => a.full_effect,
            Self::Resync => a.resync_effect,
            Self::Repair => a.repair_effect,
            Self::Pause => a.pause_effect,
            Self::MapInboxes => a.map_effect,
            Self::UnmapInboxes => a.unmap_effect,
            Self::Settings => a.settings_effect,
            Self::Watermark => a.watermark_effect,
            Self::Forget => a.forget_effect,
            Self::Remove => a.remove_effect,
            Self::Sync | Self::Verify | Self::RetryRejects | Self::Plan | Self::Resume => a.at_once,
        }
    }

    pub const fn right(self) -> Right {
        match self {
            Self::Sync
            | Self::Full
            | Self::Resync
            | Self::Verify
            | Self::Repair
            | Self::RetryRejects
            | Self::Plan
            | Self::Pause
            | Self::Resume => Right::Operate,
            Self::MapInboxes
            | Self::UnmapInboxes
            | Self::Settings
            | Self::Watermark
            | Self::Forget
            | Self::Remove => Right::Administer,
        }
    }

    pub const fn damage(self) -> Damage {
        match self {
            Self::Sync | Self::Verify | Self::RetryRejects | Self::Plan | Self::Resume => Damage::None,
            Self::Full | Self::Resync | Self::Repair | Self::Pause | Self::MapInboxes | Self::Settings => {
                Damage::Some
            }
            Self::UnmapInboxes | Self::Watermark | Self::Forget | Self::Remove => Damage::Much,
        }
    }

    /// Whether this process itself opens a session on the source for it.
    pub const fn opens_source(self) -> bool {
        matches!(self, Self::Plan | Self::Watermark)
    }

    /// The command that does the same.
    pub fn command(self, id: TenantId) -> String {
        match self {
            Self::Sync => format!("tidemark sync --tenant {id}"),
            Self::Full => format!("tidemark sync --tenant {id} --full"),
            Self::Resync => format!("tidemark resync --tenant {id} --ids IDS --reason TEXT"),
            Self::Verify => format!("tidemark verify --tenant {id} --wait"),
            Self::Repair => format!("tidemark verify --tenant {id} --wait --repair"),
            Self::RetryRejects => format!("tidemark rejected retry --tenant {id}"),
            Self::Plan => format!("tidemark plan --tenant {id}"),
            Self::Pause => format!("tidemark tenant pause --tenant {id} --reason TEXT"),
            Self::Resume => format!("tidemark tenant resume --tenant {id}"),
            Self::MapInboxes => format!("tidemark inbox map --tenant {id} --inbox IDS"),
            Self::UnmapInboxes => format!("tidemark inbox unmap --tenant {id} --inbox IDS"),
            Self::Settings => format!("tidemark tenant set --tenant {id} --sync-interval 5m"),
            Self::Watermark => format!("tidemark watermark set --tenant {id} --to TIME --reason TEXT"),
            Self::Forget => format!("tidemark tenant forget --tenant {id} --contact CONTACT"),
            Self::Remove => format!("tidemark tenant remove --tenant {id} --yes"),
        }
    }
}
