//! What was done, in words, for lists of what happened.

use tidemark_shared::audit::{Action, ActionResult};

use super::{Texts, texts};

texts! {
    Acts {
        tenant_add: "tenant added", "tenant criado";
        tenant_change: "settings changed", "configurações alteradas";
        tenant_privacy: "personal data policy changed", "política de dados pessoais alterada";
        tenant_pause: "paused", "pausado";
        tenant_resume: "resumed", "retomado";
        tenant_move: "moved to another source", "movido para outra origem";
        tenant_remove: "tenant removed", "tenant removido";
        contact_forget: "contact forgotten", "contato esquecido";
        login_add: "login of the database added", "login do banco criado";
        login_remove: "login of the database removed", "login do banco removido";
        inbox_map: "inboxes mapped", "caixas mapeadas";
        inbox_unmap: "inboxes unmapped", "caixas desmapeadas";
        inbox_discover: "inboxes looked up", "caixas procuradas";
        run_request: "run requested", "execução solicitada";
        run_cancel: "run cancelled", "execução cancelada";
        run_retry: "run retried", "execução repetida";
        chunk_retry: "chunk retried", "bloco repetido";
        verify_compare: "source and target compared", "origem e destino comparados";
        watermark_set: "watermark set", "marca-d'água definida";
        source_accept: "restored source accepted", "origem restaurada aceita";
        dead_redrive: "dead messages published again", "mensagens mortas reenviadas";
        dead_purge: "dead messages removed", "mensagens mortas removidas";
        ledger_prune: "old runs removed", "execuções antigas removidas";
        script_import: "data of the script imported", "dados do script importados";
        webhook_add: "webhook added", "webhook criado";
        webhook_remove: "webhook removed", "webhook removido";
        webhook_test: "webhook tested", "webhook testado";
        webhook_retry: "messages of a webhook sent again", "mensagens de um webhook reenviadas";
        bulk_start: "job on many started", "tarefa em massa iniciada";
        bulk_stop: "job on many stopped", "tarefa em massa parada";
        user_add: "user added", "usuário criado";
        user_change: "user changed", "usuário alterado";
        user_remove: "user removed", "usuário removido";
        token_add: "token added", "token criado";
        token_remove: "token removed", "token removido";
        session_revoke: "session ended", "sessão encerrada";
        values_show: "values shown", "valores mostrados";
        begun: "begun", "iniciado";
        done: "done", "feito";
        unchanged: "unchanged", "sem mudança";
        refused: "refused", "recusado";
        failed: "failed", "falhou";
    }
}

impl Texts {
    /// An action of the audit by its name. One of a newer version keeps its name.
    pub fn act<'a>(&self, name: &'a str) -> &'a str {
        let found = Action::ALL.iter().find(|action| action.as_str() == name);
        found.map_or(name, |action| self.act_of(*action))
    }

    /// How an action of the audit ended. A result of a newer version keeps its name.
    pub fn action_result<'a>(&self, name: &'a str) -> &'a str {
        let found = ActionResult::ALL
            .into_iter()
            .find(|result| result.as_str() == name);
        let a = &self.acts;
        match found {
            None => name,
            Some(ActionResult::Begun) => a.begun,
            Some(ActionResult::Done) => a.done,
            Some(ActionResult::Unchanged) => a.unchanged,
            Some(ActionResult::Refused) => a.refused,
            Some(ActionResult::Failed) => a.failed,
        }
    }

    const fn act_of(&self, action: Action) -> &'static str {
        let a = &self.acts;
        match action {
            Action::TenantAdd => a.tenant_add,
            Action::TenantChange => a.tenant_change,
            Action::TenantPrivacy => a.tenant_privacy,
            Action::TenantPause => a.tenant_pause,
            Action::TenantResume => a.tenant_resume,
            Action::TenantMove => a.tenant_move,
            Action::TenantRemove => a.tenant_remove,
            Action::ContactForget => a.contact_forget,
            Action::LoginAdd => a.login_add,
            Action::LoginRemove => a.login_remove,
            Action::InboxMap => a.inbox_map,
            Action::InboxUnmap => a.inbox_unmap,
            Action::InboxDiscover => a.inbox_discover,
            Action::RunRequest => a.run_request,
            Action::RunCancel => a.run_cancel,
            Action::RunRetry => a.run_retry,
            Action::ChunkRetry => a.chunk_retry,
            Action::VerifyCompare => a.verify_compare,
            Action::WatermarkSet => a.watermark_set,
            Action::SourceAccept => a.source_accept,
            Action::DeadRedrive => a.dead_redrive,
            Action::DeadPurge => a.dead_purge,
            Action::LedgerPrune => a.ledger_prune,
            Action::ScriptImport => a.script_import,
            Action::WebhookAdd => a.webhook_add,
            Action::WebhookRemove => a.webhook_remove,
            Action::WebhookTest => a.webhook_test,
            Action::WebhookRetry => a.webhook_retry,
            Action::BulkStart => a.bulk_start,
            Action::BulkStop => a.bulk_stop,
            Action::UserAdd => a.user_add,
            Action::UserChange => a.user_change,
            Action::UserRemove => a.user_remove,
            Action::TokenAdd => a.token_add,
            Action::TokenRemove => a.token_remove,
            Action::SessionRevoke => a.session_revoke,
            Action::ValuesShow => a.values_show,
        }
    }
}
