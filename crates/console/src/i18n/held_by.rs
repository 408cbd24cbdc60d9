//! What holds a tenant, and why a conversation is as it is, in the reader's language. Texts of errors and reasons stay as they are.

use tidemark_operations::status::TenantOverview;
use tidemark_operations::why::WhyAnswer;
use tidemark_operations::why::explanation::{Case, InSource};
use tidemark_shared::held_by::{HeldBy, LimitOf};
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::WaitingInbox;

use super::{Language, Texts};

impl Texts {
    /// What `status` says in English.
    pub fn held_by(&self, held_by: &HeldBy) -> String {
        match self.language {
            Language::English => held_by.to_string(),
            Language::Portuguese => held_in_portuguese(held_by),
        }
    }

    /// What has to be decided about inboxes that are gone from the source, with the command.
    pub fn undecided(&self, tenant: &TenantOverview) -> Option<String> {
        let english = tenant.undecided.as_ref()?;
        if self.language == Language::English {
            return Some(english.clone());
        }
        let (waiting, all) = tenant.waiting();
        Some(self.undecided_of(tenant.tenant_id, &waiting, all))
    }

    /// What `decision_about` says in English.
    pub(super) fn undecided_of(&self, tenant: TenantId, waiting: &[WaitingInbox], all: bool) -> String {
        const NAMED: usize = 10;
        let mut named: Vec<String> = waiting
            .iter()
            .take(NAMED)
            .map(|inbox| match &inbox.name {
                Some(name) => format!("{} `{name}` ({} linhas)", inbox.inbox_id, self.count(inbox.rows)),
                None => format!("{} ({} linhas)", inbox.inbox_id, self.count(inbox.rows)),
            })
            .collect();
        if waiting.len() > NAMED {
            named.push(format!("mais {}", waiting.len() - NAMED));
        }
        let command = if all {
            format!("tidemark sync --tenant {tenant} --allow-mass-delete")
        } else {
            let ids: Vec<String> = waiting.iter().map(|inbox| inbox.inbox_id.to_string()).collect();
            let ids = ids.join(",");
            format!("tidemark inbox unmap --tenant {tenant} --inbox {ids} e tidemark sync --tenant {tenant}")
        };
        format!(
            "caixas que sumiram da origem com suas conversas: {}. As linhas ficam até você decidir; para marcá-las como excluídas: \
             {command}",
            named.join(", ")
        )
    }

    /// What `why` says in English.
    pub fn why(&self, answer: &WhyAnswer) -> String {
        match self.language {
            Language::English => answer.why.clone(),
            Language::Portuguese => why_in_portuguese(answer),
        }
    }
}

fn with(text: String, more: Option<&str>) -> String {
    match more {
        Some(more) => format!("{text}: {more}"),
        None => text,
    }
}

fn held_in_portuguese(held_by: &HeldBy) -> String {
    match held_by {
        HeldBy::Paused { reason } => with("pausado".to_owned(), reason.as_deref()),
        HeldBy::NotActive => "inativo".to_owned(),
        HeldBy::NoInboxes => "sem caixas de entrada".to_owned(),
        HeldBy::NoProducer => "sem producer".to_owned(),
        HeldBy::NoWorker => "sem worker".to_owned(),
        HeldBy::NoFinalizer => "sem finalizer".to_owned(),
        HeldBy::Broker { trouble } => format!("o RabbitMQ não pode ser usado: {trouble}"),
        HeldBy::Retrying { chunks, error } => {
            let noun = if *chunks == 1 { "bloco" } else { "blocos" };
            with(format!("tentando de novo {chunks} {noun}"), error.as_deref())
        }
        HeldBy::Failing { in_a_row, error } => {
            with(format!("falhando, {in_a_row} em seguida"), error.as_deref())
        }
        HeldBy::NotPlanned { error } => format!("ainda não planejado: {error}"),
        HeldBy::Source { source } => format!("a origem {source} não pode ser lida"),
        HeldBy::Fence { pid: Some(pid), .. } => format!("transação aberta na origem, pid {pid}"),
        HeldBy::Fence {
            prepared: Some(name), ..
        } => format!("transação preparada {name} na origem"),
        HeldBy::Fence { .. } => "transação aberta na origem".to_owned(),
        HeldBy::Limit {
            whose,
            in_flight,
            limit,
            error,
        } => {
            let whose = match whose {
                LimitOf::Tenant => "do tenant",
                LimitOf::Source => "da origem",
                LimitOf::Fleet => "da frota",
            };
            let text = format!("limite {whose}, {in_flight} de {limit} em execução ou na fila");
            match error {
                Some(error) => format!("{text}; um bloco em espera: {error}"),
                None => text,
            }
        }
    }
}

fn why_in_portuguese(answer: &WhyAnswer) -> String {
    let (facts, tenant) = (&answer.facts, answer.tenant_id);
    let chunk = facts.newest_chunk.as_ref();
    let chunk_id = chunk.map_or_else(|| "–".to_owned(), |chunk| chunk.id.to_string());
    let chunk_error = chunk
        .and_then(|chunk| chunk.error.as_deref())
        .map(|error| format!(" ({error})"))
        .unwrap_or_default();
    let run = facts
        .planning
        .map_or_else(|| "–".to_owned(), |(run, ..)| run.to_string());
    let signals = match facts.signals.as_slice() {
        [] => String::new(),
        signals => format!(", encontrada por {}", signals.join(", ")),
    };
    let text = match answer.case {
        Case::Equal => "a origem e o destino são iguais em todas as colunas".to_owned(),
        Case::EqualWriterOpen => "a origem e o destino são iguais, mas uma transação aberta na origem está mudando a linha: a \
                                  mudança aparece quando ela terminar"
            .to_owned(),
        Case::OnItsWay => format!("o bloco {chunk_id} vai trazê-la{chunk_error}"),
        Case::BeingPlanned => format!("a execução {run} está sendo planejada e pode trazê-la{signals}"),
        Case::NextSync if facts.never_synced => "a primeira sincronização do tenant vai trazê-la".to_owned(),
        Case::NextSync => format!("ela mudou depois do último plano, e a próxima sincronização vai trazê-la{signals}"),
        Case::Stopped => {
            "o tenant está parado, e nenhuma execução é planejada ou iniciada até ser retomado".to_owned()
        }
        Case::ChunkFailed => format!(
            "o bloco {chunk_id}, que deveria tê-la trazido, morreu ou foi cancelado{chunk_error}: tente-o de novo, ou \
             ressincronize a conversa"
        ),
        Case::Forgotten => "seu contato foi esquecido: ela é mantida fora do destino".to_owned(),
        Case::Rejected => {
            let refusal = facts.refusal.as_ref();
            let why = refusal.map(|refusal| format!(" ({}: {})", refusal.side, refusal.error));
            format!(
                "ela foi rejeitada{}: toda execução tenta de novo, até a causa ser corrigida",
                why.unwrap_or_default()
            )
        }
        Case::BackfillPending => {
            let inbox = match facts.source {
                InSource::Here { inbox, .. } => format!(" {inbox}"),
                _ => String::new(),
            };
            format!("a caixa{inbox} foi mapeada, e seu histórico espera um backfill, que um producer solicita sozinho")
        }
        Case::Tombstone => {
            "ela não existe mais na origem; sua linha está marcada como excluída e é mantida".to_owned()
        }
        Case::Gone => {
            "ela não existe mais na origem e ainda não está marcada como excluída: a próxima execução que a encontrar a marca"
                .to_owned()
        }
        Case::NotTheTenants => format!("a origem a tem em uma caixa que não é do tenant {tenant}"),
        Case::MovedAway => {
            "ela foi para uma caixa que não é do tenant, e sua linha ainda não está marcada como excluída".to_owned()
        }
        Case::Renamed => {
            "só nomes copiados diferem: um plano que encontra o nome mudado solicita um backfill".to_owned()
        }
        Case::Silent => "as linhas diferem, e nenhum sinal de mudança mostra isso: uma verificação a encontra, e uma \
                         ressincronização a corrige"
            .to_owned(),
        Case::NeverExisted => {
            "nem a origem nem o destino a têm: ela nunca existiu, ou foi excluída na origem antes de uma execução a ler"
                .to_owned()
        }
    };
    let differing = match facts.differing.as_slice() {
        [] => text,
        columns => format!("{} {}: {text}", columns.join(", "), "diferem"),
    };
    match answer.blocker.as_ref().filter(|_| facts.held_by.is_some()) {
        Some(blocker) => format!(
            "{differing}; segurado por: {}",
            held_in_portuguese(&blocker.held_by)
        ),
        None => differing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_said_in_both_languages_with_its_numbers() {
        let error = Some("duplicate key".to_owned());
        let all = [
            HeldBy::Paused {
                reason: Some("night".to_owned()),
            },
            HeldBy::Retrying {
                chunks: 3,
                error: error.clone(),
            },
            HeldBy::Failing {
                in_a_row: 4,
                error: error.clone(),
            },
            HeldBy::Fence {
                pid: Some(47),
                prepared: None,
            },
            HeldBy::Limit {
                whose: LimitOf::Fleet,
                in_flight: 8,
                limit: 9,
                error,
            },
        ];
        for held_by in &all {
            let [english, portuguese] = Language::ALL.map(|language| language.texts().held_by(held_by));
            assert_ne!(english, portuguese);
            let numbers = |text: &str| -> Vec<String> {
                let parts = text.split(|sign: char| !sign.is_ascii_digit());
                parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
            };
            assert_eq!(numbers(&english), numbers(&portuguese), "{english}");
            assert_eq!(
                english.contains("duplicate key"),
                portuguese.contains("duplicate key"),
                "{english}"
            );
        }
    }
}
