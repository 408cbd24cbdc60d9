//! Webhooks and their messages.

use super::{Texts, texts};

texts! {
    WebhookTexts {
        title: "Webhooks", "Webhooks";
        lead: "What is reported to other systems. Finalizers deliver the messages, at least once each, and try for a day.", "O que é avisado a outros sistemas. Os finalizers entregam as mensagens, ao menos uma vez cada, e tentam por um dia.";
        none: "Nothing is reported to other systems.", "Nada é avisado a outros sistemas.";
        webhook: "Webhook", "Webhook";
        host: "Receiver", "Destino";
        events: "Events", "Eventos";
        format: "Format", "Formato";
        json: "signed JSON", "JSON assinado";
        slack: "text for Slack", "texto para Slack";
        all_tenants: "all tenants, and sources", "todos os tenants, e origens";
        waiting: "Waiting", "Esperando";
        delivered: "Delivered", "Entregues";
        dead: "Dead", "Mortas";
        last: "Last delivered", "Última entrega";
        add: "Add a webhook", "Adicionar um webhook";
        add_effect: "Finalizers send a message for each of these events from now on. The messages have ids, counts and links, no personal data.", "Os finalizers enviam uma mensagem a cada um destes eventos a partir de agora. As mensagens têm ids, contagens e links, sem dados pessoais.";
        url: "Address of the receiver", "Endereço do destino";
        url_hint: "https, or http on this machine", "https, ou http nesta máquina";
        tenant_hint: "empty: all tenants, and sources", "vazio: todos os tenants, e origens";
        one_event: "Choose at least one event.", "Escolha ao menos um evento.";
        added: "Webhook {id} is added", "O webhook {id} foi adicionado";
        secret: "The receiver checks signatures with this secret. It is not shown again.", "O destino confere as assinaturas com este segredo. Ele não é mostrado de novo.";
        unsigned: "Messages in this format are not signed.", "As mensagens neste formato não são assinadas.";
        go_on: "To the webhook", "Para o webhook";
        test: "Send a test", "Enviar um teste";
        test_took: "The receiver took the test.", "O destino recebeu o teste.";
        test_failed: "The receiver was not reached: {error}", "O destino não foi alcançado: {error}";
        retry: "Send again", "Enviar de novo";
        retry_all: "Send the dead ones again", "Enviar as mortas de novo";
        retried: "{count} messages are sent once more.", "{count} mensagens são enviadas mais uma vez.";
        remove: "Remove the webhook", "Remover o webhook";
        remove_effect: "Nothing is sent to it any more, and its messages are removed, also those that wait.", "Nada mais é enviado, e suas mensagens são removidas, também as que esperam.";
        removed: "Webhook {id} is removed.", "O webhook {id} foi removido.";
        messages: "Messages", "Mensagens";
        message: "Message", "Mensagem";
        event: "Event", "Evento";
        next: "Next attempt", "Próxima tentativa";
        attempts: "Attempts", "Tentativas";
        answer: "Answer", "Resposta";
        state_waiting: "waiting", "esperando";
        state_delivered: "delivered", "entregue";
        state_dead: "dead", "morta";
        run_succeeded: "a run succeeded", "uma execução teve sucesso";
        run_partial: "a run left something out", "uma execução deixou algo de fora";
        run_failed: "a run failed", "uma execução falhou";
        run_cancelled: "a run was cancelled", "uma execução foi cancelada";
        tenant_late: "a tenant is late", "um tenant está atrasado";
        tenant_recovered: "a tenant is on time again", "um tenant está em dia de novo";
        rows_at_fault: "a comparison found rows at fault", "uma comparação encontrou linhas erradas";
        source_fenced: "a source does not answer or is held", "uma origem não responde ou está presa";
        source_recovered: "a source is well again", "uma origem está bem de novo";
        tried: "a test", "um teste";
    }
}

impl Texts {
    /// The event in words.
    pub fn event<'a>(&self, event: &'a str) -> &'a str
    where
        'static: 'a,
    {
        let w = &self.webhooks;
        match event {
            "run.succeeded" => w.run_succeeded,
            "run.partial" => w.run_partial,
            "run.failed" => w.run_failed,
            "run.cancelled" => w.run_cancelled,
            "tenant.late" => w.tenant_late,
            "tenant.recovered" => w.tenant_recovered,
            "rows.at_fault" => w.rows_at_fault,
            "source.fenced" => w.source_fenced,
            "source.recovered" => w.source_recovered,
            "webhook.test" => w.tried,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::webhook::WebhookEvent;

    use crate::i18n::Language;

    #[test]
    fn every_event_is_said_in_words() {
        for language in Language::ALL {
            for event in WebhookEvent::ALL {
                assert_ne!(language.texts().event(event.as_str()), event.as_str());
            }
        }
    }
}
