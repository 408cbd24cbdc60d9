//! Why an operation is refused, in the reader's language. What a server said stays as it came.

use tidemark_operations::error::OutboundError;
use tidemark_operations::ids::{IdsError, MOST_IDS};
use tidemark_operations::refusal::{FilterField, Limit, LoginNameFault, NeedsReason, Refusal, joined};
use tidemark_shared::ids::TenantId;

use super::{Language, Texts};

impl Texts {
    /// What the command line says in English.
    pub fn refusal(&self, refusal: &Refusal) -> String {
        match self.language {
            Language::English => refusal.to_string(),
            Language::Portuguese => self.refusal_in_portuguese(refusal),
        }
    }

    /// Why a list of ids cannot be read.
    pub fn ids_error(&self, error: &IdsError) -> String {
        if self.language == Language::English {
            return error.to_string();
        }
        match error {
            IdsError::NoId { line, word } => format!("linha {line}: `{word}` não é o id de uma conversa"),
            IdsError::TooMany => format!(
                "mais de {MOST_IDS} ids: selecione por período ou por caixas, ou use todas as conversas"
            ),
            IdsError::Empty => "não há nenhum id no arquivo".to_owned(),
        }
    }

    fn refusal_in_portuguese(&self, refusal: &Refusal) -> String {
        match refusal {
            Refusal::UnknownTenant(id) => {
                format!("não existe o tenant {id}: `tidemark tenant list` mostra os que existem")
            }
            Refusal::RemovedJustNow(id) => format!("o tenant {id} acabou de ser removido"),
            Refusal::UnknownRun(run) => {
                format!("não existe a execução {run}: `tidemark run list` mostra as que existem")
            }
            Refusal::UnknownJob(id) => {
                format!("não existe a tarefa {id}: `tidemark bulk list` mostra as que existem")
            }
            Refusal::UnknownWebhook(id) => {
                format!("não existe o webhook {id}: `tidemark webhook list` mostra os que existem")
            }
            Refusal::NeedsReason(what) => format!("informe o motivo para {}", needs_reason(what)),
            Refusal::NeedsName => "o tenant precisa de um nome".to_owned(),
            Refusal::IdNotPositive(id) => {
                format!("o id de um tenant é um número positivo, e não {id}")
            }
            Refusal::IdOfRemoved(id) => format!(
                "o id {id} foi de um tenant removido, cujas linhas ainda existem: escolha outro id"
            ),
            Refusal::IdTaken(id) => format!("já existe um tenant {id}"),
            Refusal::SlugTaken(slug) => format!("o slug `{slug}` já está em uso: escolha outro com --slug"),
            Refusal::NoTimeZone(name) => {
                format!("`{name}` não é um fuso horário IANA: escreva um como America/Sao_Paulo")
            }
            Refusal::OutOfRange {
                limit,
                value,
                least,
                most,
            } => format!("{}: {value} não está entre {least} e {most}", limit_of(*limit)),
            Refusal::NotActive { tenant, why: Some(why) } => format!("o tenant {tenant} não está ativo: {why}"),
            Refusal::NotActive { tenant, why: None } => {
                format!("o tenant {tenant} não está ativo: seu status não permite execuções")
            }
            Refusal::NoInboxes(id) => format!(
                "o tenant {id} não tem caixas de entrada: mapeie-as com `tidemark inbox map --tenant {id} --inbox …`"
            ),
            Refusal::NoneReady => "nenhum tenant ativo tem caixas de entrada: adicione um com `tidemark tenant add` e \
                                   `tidemark inbox map`"
                .to_owned(),
            Refusal::HasHistory { tenant, from } => format!(
                "o tenant {tenant} já é sincronizado da origem `{from}`, ou sua primeira sincronização já começou. \
                 `tidemark tenant move --tenant {tenant} --source NAME --reason TEXT` marca suas linhas como excluídas e \
                 recomeça de outra origem; se a própria `{from}` mudou de servidor, altere a URL dela nas configurações"
            ),
            Refusal::SameSource { tenant, to } => format!("o tenant {tenant} já tem a origem `{to}`"),
            Refusal::HasForgotten {
                tenant,
                contacts,
                from,
                to,
            } => format!(
                "o tenant {tenant} tem {} contatos esquecidos da origem `{from}`, cujos ids são de outras pessoas em `{to}`: \
                 crie um tenant para a nova origem (tidemark tenant add --source {to}), esqueça os contatos lá pelos novos \
                 ids (tidemark tenant forget) e depois remova este (tidemark tenant remove)",
                self.count(*contacts)
            ),
            Refusal::InboxesOfOthers {
                tenant,
                others,
                from,
                inboxes,
            } => format!(
                "{}, e nada foi mapeado; para tomar do tenant {from}: tidemark inbox map --tenant {tenant} --inbox {} \
                 --from-tenant {from}",
                owned(others),
                joined(inboxes)
            ),
            Refusal::InboxOfAnother { inbox, tenant } => format!(
                "a caixa {inbox} não é do tenant {tenant}: `tidemark inbox list --tenant {tenant}` mostra as que são"
            ),
            Refusal::InboxOfNone(inbox) => format!(
                "a caixa {inbox} não é de nenhum destes tenants: `tidemark inbox list` mostra de quem ela é"
            ),
            Refusal::NoAccount(id) => format!(
                "o tenant {id} não tem o id da conta: mapeie suas caixas com `tidemark inbox map --tenant {id} --inbox …`"
            ),
            Refusal::RunEnded { run, status } => format!(
                "a execução {run} já terminou ({}): não resta nada para cancelar",
                self.run_status(*status)
            ),
            Refusal::RequestUnreadable { run, error } | Refusal::ItemUnreadable { run, error } => format!(
                "a execução {run} terminou antes de ter blocos, e o pedido dela não pode ser lido: {error}"
            ),
            Refusal::ChunkNotDead { run, seq } => format!(
                "o bloco {run}/{seq} não está morto nem cancelado: `tidemark chunk list --run {run}` mostra os que estão"
            ),
            Refusal::NothingToRetry { run, status } => format!(
                "a execução {run} ({}) não tem bloco morto ou cancelado: `tidemark sync` ou `resync` lê essa parte de novo",
                self.run_status(*status)
            ),
            Refusal::OtherRunOpen(run) => format!(
                "a execução {run} fica como está: o tenant tem outra execução do mesmo tipo aberta, que traz o mesmo; \
                 `tidemark run list` a mostra"
            ),
            Refusal::RunOfOtherSource { run, tenant } => format!(
                "a execução {run} foi planejada de outra origem, e não da que o tenant {tenant} tem agora: \
                 `tidemark sync --tenant {tenant}` planeja da atual"
            ),
            Refusal::NothingCompared { run, status, why } => {
                let status = self.run_status(*status);
                let why = why.as_deref().unwrap_or("veja `tidemark run show`");
                format!("a execução {run} não comparou nada ({status}): {why}")
            }
            Refusal::NeverCompared(id) => {
                format!("o tenant {id} nunca foi comparado com a origem: `tidemark verify --tenant {id}` faz isso")
            }
            Refusal::TooManyIds { ids, most } => {
                format!("{ids} ids para vários tenants: no máximo {most} de cada vez, ou indique o tenant")
            }
            Refusal::NoneOfTheirs(ids) => {
                format!("nenhum dos {ids} ids é de uma conversa destes tenants")
            }
            Refusal::TimesReversed { from, to } => format!("o início ({from}) não é anterior ao fim ({to})"),
            Refusal::InFuture { to, now } => {
                format!("{to} está no futuro: o relógio da origem marca {now}")
            }
            Refusal::WatermarkRunOpen { tenant, run } => format!(
                "o tenant {tenant} tem a execução {run} aberta, que move a marca-d'água ao terminar: espere por ela \
                 (`tidemark run watch {run}`) ou encerre-a (`tidemark run cancel {run}`)"
            ),
            Refusal::NotRestored { source_name, server } => {
                format!("a origem `{source_name}` em {server} não voltou no tempo: não há nada para aceitar")
            }
            Refusal::UnknownName { field, names } => format!(
                "este nome não existe no filtro {}: use um destes: {}",
                filter_field(*field),
                names.join(", ")
            ),
            Refusal::NoIdOfSubject(text) => format!("`{text}` não é um id que sirva para esta ação"),
            Refusal::UnknownIds { unknown, given } => format!(
                "{unknown} dos {given} ids não existem ou estão em outro estado: olhe a lista de novo"
            ),
            Refusal::NothingMatches => "nada corresponde: mude o filtro ou escolha outros ids".to_owned(),
            Refusal::TooManyMatch(most) => {
                format!("mais de {most} correspondem: restrinja o filtro e aja por partes")
            }
            Refusal::AllSkipped => "nada seria feito: todos os itens são ignorados".to_owned(),
            Refusal::StartedAlready(id) => format!("a tarefa {id} já foi iniciada"),
            Refusal::UnknownAction(action) => format!("esta versão não conhece a ação {action}"),
            Refusal::ItemWithoutRun => "o item não indica uma execução".to_owned(),
            Refusal::WebhookAddress(error) => address(error),
            Refusal::NoWebhookKey => "as mensagens são assinadas, e webhook_key não está definida: crie uma chave com \
                                      `openssl rand -hex 32` e defina-a como TIDEMARK_WEBHOOK_KEY aqui e em cada finalizer"
                .to_owned(),
            Refusal::MessageNotDead { webhook, message } => format!(
                "a mensagem {message} do webhook {webhook} não está morta: `tidemark webhook show {webhook}` mostra as que \
                 estão"
            ),
            Refusal::WebhookRemoved => "o webhook foi removido nesse meio-tempo".to_owned(),
            Refusal::TestNotDelivered => {
                "nenhum finalizer entregou a mensagem em meio minuto: inicie um com `tidemark finalizer`".to_owned()
            }
            Refusal::LoginName(fault) => format!("o nome do login {}", login_name(*fault)),
            Refusal::LoginHasPowers { login, powers } => format!(
                "{login} não pode ser ligado a um tenant por causa do que pode fazer ({}): tire isso dele antes, ou escolha \
                 outro nome",
                powers.join(", ")
            ),
            Refusal::LoginMayNotLogIn(login) => {
                format!("{login} é um papel que não pode fazer login: escolha outro nome")
            }
            Refusal::LoginTaken { login, tenant } => format!(
                "{login} está ligado ao tenant {tenant}: `tidemark tenant login remove --name {login}` desfaz isso"
            ),
            Refusal::UnknownLogin(login) => format!(
                "nenhum tenant tem o login {login}: `tidemark tenant login list` mostra os que existem"
            ),
            Refusal::PasswordShort(least) => format!("a senha tem pelo menos {least} caracteres"),
            Refusal::PasswordHasNul => "a senha não pode ter o caractere NUL".to_owned(),
            Refusal::LoginNeedsAdministrator { adds, statements } => {
                let (may_not, then) = if *adds {
                    ("criar logins nem dar acesso a eles", "Até lá o login não vê nada.")
                } else {
                    ("tirar os direitos de logins", "Até lá o login continua ligado ao tenant.")
                };
                format!(
                    "este login não pode {may_not}, e nada foi alterado. Um administrador do servidor executa isto, e depois \
                     você repete o comando. {then}\n  {}",
                    statements.join("\n  ")
                )
            }
            Refusal::UnknownOldTenant(id) => {
                format!("--tenant-map {id}=…: o banco antigo não tem o tenant {id}")
            }
        }
    }
}

fn needs_reason(what: &NeedsReason) -> String {
    match what {
        NeedsReason::AcceptRestore => "aceitar uma origem restaurada".to_owned(),
        NeedsReason::Move => "mover um tenant".to_owned(),
        NeedsReason::Pause => "pausar um tenant".to_owned(),
        NeedsReason::Watermark => "definir uma marca-d'água".to_owned(),
        NeedsReason::Job(action) => format!("a ação {action}"),
    }
}

const fn limit_of(limit: Limit) -> &'static str {
    match limit {
        Limit::ChunkSize => "conversas por bloco",
        Limit::InFlight => "blocos em execução ou na fila",
        Limit::SyncInterval => "o intervalo entre duas sincronizações",
        Limit::VerifyInterval => "o intervalo entre duas comparações",
    }
}

const fn filter_field(field: FilterField) -> &'static str {
    match field {
        FilterField::State => "do estado",
        FilterField::Status => "do status",
        FilterField::Type => "do tipo",
        FilterField::Side => "do lado",
    }
}

const fn login_name(fault: LoginNameFault) -> &'static str {
    match fault {
        LoginNameFault::Empty => "está vazio",
        LoginNameFault::Long => "tem mais de 63 bytes",
        LoginNameFault::Control => "tem um caractere de controle",
        LoginNameFault::Reserved => "começa com pg_, que o PostgreSQL reserva para si",
        LoginNameFault::Keyword => "tem um significado em SQL",
    }
}

fn owned(others: &[(i32, TenantId)]) -> String {
    let owned: Vec<String> = others
        .iter()
        .map(|(inbox, owner)| format!("a caixa {inbox} é do tenant {owner}"))
        .collect();
    owned.join(", ")
}

/// Why a request is not sent to an address.
fn address(error: &OutboundError) -> String {
    match error {
        OutboundError::NoUrl(error) => format!("o endereço não é uma URL ({error})"),
        OutboundError::NoHost => "o endereço não tem host".to_owned(),
        OutboundError::Scheme(scheme) => {
            format!("o endereço começa com `{scheme}:`: escreva https, ou http para esta própria máquina")
        }
        OutboundError::NotEncrypted => "http serve só para esta própria máquina: escreva https".to_owned(),
        OutboundError::Login => {
            "o endereço tem usuário ou senha, que seriam enviados a quem responder: tire-os do endereço"
                .to_owned()
        }
        OutboundError::Forbidden(address) => format!(
            "{address} é da rede desta máquina ou da nuvem dela, e ninguém é alcançado lá: use outro endereço"
        ),
    }
}
