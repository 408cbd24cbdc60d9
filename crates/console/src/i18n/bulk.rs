//! One action on many things.

use tidemark_operations::bulk::{BulkAction, BulkSubject, Skip};

use super::{Texts, texts};

texts! {
    BulkTexts {
        title: "Jobs", "Tarefas";
        lead: "One action on many things: what was chosen, and how far it is.", "Uma ação em muitas coisas: o que foi escolhido e até onde chegou.";
        with_many: "With several", "Com vários";
        choose_ticked: "Ticked ones…", "Os marcados…";
        choose_all: "All that match…", "Todos que correspondem…";
        tick: "Choose {name}", "Escolher {name}";
        none_ticked: "Tick some rows first, or take all that match.", "Marque algumas linhas, ou use todos que correspondem.";
        tenants: "tenants", "tenants";
        one_tenant: "tenant", "tenant";
        runs: "runs", "execuções";
        one_run: "run", "execução";
        chunks: "chunks", "blocos";
        one_chunk: "chunk", "bloco";
        rejects: "tenants with rejected conversations", "tenants com conversas rejeitadas";
        one_reject: "tenant with rejected conversations", "tenant com conversas rejeitadas";
        tenant_sync: "Sync", "Sincronizar";
        tenant_full: "Full sync", "Sincronização completa";
        tenant_verify: "Verify", "Verificar";
        tenant_pause: "Pause", "Pausar";
        tenant_resume: "Resume", "Retomar";
        run_cancel: "Cancel", "Cancelar";
        run_retry: "Retry", "Tentar de novo";
        chunk_retry: "Retry", "Tentar de novo";
        reject_resync: "Resync", "Ressincronizar";
        frozen: "These were chosen when you asked, and stay the same. Nothing is done before you confirm.", "Estes foram escolhidos quando você pediu e não mudam. Nada é feito antes de você confirmar.";
        to_do: "To do", "A fazer";
        skipped: "Skipped", "Ignorados";
        failed: "Failed", "Falharam";
        done: "Done", "Feitos";
        left: "Left", "Faltam";
        matched: "Matched", "Correspondem";
        conversations: "Conversations", "Conversas";
        sample: "The first of them", "Os primeiros";
        failures: "What failed", "O que falhou";
        new_run: "New run", "Nova execução";
        prepared: "not started", "não iniciada";
        running: "running", "em execução";
        ended: "done", "concluída";
        stopped: "stopped", "parada";
        started: "Job {id} is running.", "A tarefa {id} está em execução.";
        stop: "Stop the job", "Parar a tarefa";
        stopped_now: "Job {id} is stopped. What was done stays.", "A tarefa {id} foi parada. O que foi feito fica.";
        ended_before: "Job {id} had ended before.", "A tarefa {id} já tinha terminado.";
        discarded: "A job that is not started within a day is discarded.", "Uma tarefa não iniciada em um dia é descartada.";
        takes_over: "If this console stops, another one goes on with it.", "Se este console parar, outro continua a tarefa.";
        why_paused: "paused", "pausado";
        why_not_active: "not active", "inativo";
        why_no_inboxes: "without inboxes", "sem caixas";
        why_not_paused: "not paused", "não pausado";
        why_run_ended: "ended already", "já terminou";
        why_nothing_to_retry: "nothing dead or cancelled", "nada morto ou cancelado";
        why_already_open: "a run that does the same is open", "uma execução que faz o mesmo está aberta";
        why_other_source: "the tenant has another source now", "o tenant tem outra origem agora";
        why_removed: "removed", "removido";
    }
}

impl Texts {
    pub const fn bulk_action(&self, action: BulkAction) -> &'static str {
        let b = &self.bulk;
        match action {
            BulkAction::TenantSync => b.tenant_sync,
            BulkAction::TenantFull => b.tenant_full,
            BulkAction::TenantVerify => b.tenant_verify,
            BulkAction::TenantPause => b.tenant_pause,
            BulkAction::TenantResume => b.tenant_resume,
            BulkAction::RunCancel => b.run_cancel,
            BulkAction::RunRetry => b.run_retry,
            BulkAction::ChunkRetry => b.chunk_retry,
            BulkAction::RejectResync => b.reject_resync,
        }
    }

    /// What an action does to each, for its confirmation.
    pub const fn bulk_effect(&self, action: BulkAction) -> &'static str {
        let a = &self.actions;
        match action {
            BulkAction::TenantFull => a.full_effect,
            BulkAction::TenantPause => a.pause_effect,
            BulkAction::RunCancel => a.cancel_effect,
            BulkAction::RunRetry | BulkAction::ChunkRetry => a.retry_effect,
            BulkAction::RejectResync => a.resync_effect,
            BulkAction::TenantSync | BulkAction::TenantVerify | BulkAction::TenantResume => a.at_once,
        }
    }

    /// `Pause 42 tenants`.
    pub fn bulk_title(&self, action: BulkAction, items: i64) -> String {
        let b = &self.bulk;
        let (one, many) = match action.subject() {
            BulkSubject::Tenants => (b.one_tenant, b.tenants),
            BulkSubject::Runs => (b.one_run, b.runs),
            BulkSubject::Chunks => (b.one_chunk, b.chunks),
            BulkSubject::Rejects => (b.one_reject, b.rejects),
        };
        format!("{}: {}", self.bulk_action(action), self.counted(items, one, many))
    }

    pub fn skipped_why<'a>(&self, why: &'a str) -> &'a str
    where
        'static: 'a,
    {
        let b = &self.bulk;
        let Some(skip) = Skip::ALL.into_iter().find(|skip| skip.as_str() == why) else {
            return why;
        };
        match skip {
            Skip::Paused => b.why_paused,
            Skip::NotActive => b.why_not_active,
            Skip::NoInboxes => b.why_no_inboxes,
            Skip::NotPaused => b.why_not_paused,
            Skip::RunEnded => b.why_run_ended,
            Skip::NothingToRetry => b.why_nothing_to_retry,
            Skip::AlreadyOpen => b.why_already_open,
            Skip::OtherSource => b.why_other_source,
            Skip::Removed => b.why_removed,
        }
    }

    pub fn bulk_status<'a>(&self, status: &'a str) -> &'a str
    where
        'static: 'a,
    {
        let b = &self.bulk;
        match status {
            "prepared" => b.prepared,
            "running" => b.running,
            "done" => b.ended,
            "stopped" => b.stopped,
            other => other,
        }
    }
}
