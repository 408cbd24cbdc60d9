//! The words for states and kinds.

use tidemark_shared::run::{RunStatus, RunType};

use super::{Texts, texts};

texts! {
    States {
        requested: "requested", "solicitada";
        planning: "planning", "planejando";
        running: "running", "em execução";
        success: "success", "sucesso";
        partial: "partial", "parcial";
        failed: "failed", "falhou";
        cancelled: "cancelled", "cancelado";
        pending: "pending", "pendente";
        queued: "queued", "na fila";
        retrying: "retrying", "tentando de novo";
        done: "done", "concluído";
        dead: "dead", "morto";
        incremental: "incremental", "incremental";
        full: "full", "completa";
        resync: "resync", "ressincronização";
        backfill: "backfill", "backfill";
        repair: "repair", "reparo";
        verify: "verify", "verificação";
        on_time: "on time", "em dia";
        late: "late", "atrasado";
        paused: "paused", "pausado";
        failing: "failing", "falhando";
        never_synced: "never synced", "nunca sincronizado";
        not_active: "not active", "inativo";
        blocked: "blocked", "bloqueado";
        equal: "equal", "igual";
        different: "different", "diferente";
        ok: "ok", "ok";
        warning: "warning", "aviso";
        error: "error", "erro";
        not_checked: "not checked", "não verificado";
    }
}

impl Texts {
    pub const fn run_status(&self, status: RunStatus) -> &'static str {
        let s = &self.states;
        match status {
            RunStatus::Requested => s.requested,
            RunStatus::Planning => s.planning,
            RunStatus::Running => s.running,
            RunStatus::Success => s.success,
            RunStatus::Partial => s.partial,
            RunStatus::Failed => s.failed,
            RunStatus::Cancelled => s.cancelled,
        }
    }

    pub const fn run_type(&self, run_type: RunType) -> &'static str {
        let s = &self.states;
        match run_type {
            RunType::Incremental => s.incremental,
            RunType::Full => s.full,
            RunType::Resync => s.resync,
            RunType::Backfill => s.backfill,
            RunType::Repair => s.repair,
            RunType::Verify => s.verify,
        }
    }

    /// The state of a chunk or of a cell of chunks.
    pub fn chunk_state(&self, state: &str) -> &'static str {
        let s = &self.states;
        match state {
            "queued" => s.queued,
            "running" => s.running,
            "done" => s.done,
            "dead" => s.dead,
            "cancelled" => s.cancelled,
            "retrying" => s.retrying,
            _ => s.pending,
        }
    }
}
