//! Why a tenant or a source needs somebody, and what cures it.

use tidemark_shared::held_by::BlockerKind;

use super::{Texts, texts};

texts! {
    Causes {
        paused: "Paused", "Pausado";
        not_active: "Not active", "Inativo";
        no_inboxes: "It has no inboxes", "Não tem caixas de entrada";
        no_producer: "No producer runs, so nothing is planned", "Nenhum producer em execução: nada é planejado";
        no_worker: "No worker runs, so chunks wait", "Nenhum worker em execução: os blocos esperam";
        no_finalizer: "No finalizer runs, so runs stay open", "Nenhum finalizer em execução: as execuções ficam abertas";
        broker: "RabbitMQ cannot be used", "O RabbitMQ não pode ser usado";
        retrying: "Chunks failed and are tried again", "Blocos falharam e são tentados de novo";
        failing: "Its last runs failed", "Suas últimas execuções falharam";
        not_planned: "Its run cannot be planned", "A execução não pode ser planejada";
        source: "Its source cannot be read", "A origem não pode ser lida";
        fence: "An open transaction at the source holds the watermark", "Uma transação aberta na origem segura a marca-d'água";
        limit: "A limit is reached", "Um limite foi atingido";
        late: "Late, and nothing blocks it now", "Atrasado, e nada o bloqueia agora";
        rejects: "Conversations are rejected", "Há conversas rejeitadas";
        dead_chunks: "Chunks are dead", "Há blocos mortos";
        faults: "The last comparison found rows at fault", "A última comparação encontrou linhas erradas";
        inboxes_gone: "Inboxes are gone from the source", "Caixas de entrada sumiram da origem";
        cure_paused: "Resume it when the reason is gone.", "Retome quando o motivo acabar.";
        cure_not_active: "Its status does not allow runs.", "Seu status não permite execuções.";
        cure_no_inboxes: "Map its inboxes.", "Mapeie as caixas de entrada.";
        cure_no_process: "Start one:", "Inicie um:";
        cure_broker: "Look at the check-up; chunks wait in the ledger meanwhile.", "Veja a verificação; os blocos esperam no ledger.";
        cure_retrying: "Nothing has to be done while the cause passes by itself.", "Nada a fazer enquanto a causa passa sozinha.";
        cure_failing: "Remove the cause that the run names, then sync.", "Remova a causa indicada na execução e sincronize.";
        cure_source: "Look at the source; runs are planned again when it answers.", "Veja a origem; as execuções são replanejadas quando ela responder.";
        cure_fence: "End the transaction at the source, or wait for it.", "Encerre a transação na origem, ou espere por ela.";
        cure_limit: "It goes on when other chunks have ended.", "Continua quando outros blocos terminarem.";
        cure_late: "A sync takes what is missing.", "Uma sincronização busca o que falta.";
        cure_rejects: "Fix the values at the source, then retry.", "Corrija os valores na origem e tente de novo.";
        cure_dead: "Remove the cause, then retry the chunks.", "Remova a causa e tente os blocos de novo.";
        cure_faults: "A repair writes these rows again.", "Um reparo grava essas linhas de novo.";
        lasting: "for {span}", "há {span}";
    }
}

impl Texts {
    pub const fn cause(&self, kind: BlockerKind) -> (&'static str, &'static str) {
        let c = &self.causes;
        match kind {
            BlockerKind::Paused => (c.paused, c.cure_paused),
            BlockerKind::NotActive => (c.not_active, c.cure_not_active),
            BlockerKind::NoInboxes => (c.no_inboxes, c.cure_no_inboxes),
            BlockerKind::NoProducer => (c.no_producer, c.cure_no_process),
            BlockerKind::NoWorker => (c.no_worker, c.cure_no_process),
            BlockerKind::NoFinalizer => (c.no_finalizer, c.cure_no_process),
            BlockerKind::Broker => (c.broker, c.cure_broker),
            BlockerKind::Retrying => (c.retrying, c.cure_retrying),
            BlockerKind::Failing => (c.failing, c.cure_failing),
            BlockerKind::NotPlanned => (c.not_planned, c.cure_source),
            BlockerKind::Source => (c.source, c.cure_source),
            BlockerKind::Fence => (c.fence, c.cure_fence),
            BlockerKind::Limit => (c.limit, c.cure_limit),
        }
    }
}
