//! What the doctor found, in the reader's language. What a server said, and commands, stay as they are.

use tidemark_operations::doctor::report::GroupName;
use tidemark_operations::error::Exposure;
use tidemark_runtime::finding::{BackupFault, ClockOf, Found, IsolationFault, ManagementFault};
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::{UnsyncedInbox, UnsyncedReason};

use super::{Language, Texts, errors};

impl Texts {
    /// What the command line says in English.
    pub fn found(&self, found: &Found) -> String {
        match self.language {
            Language::English => found.to_string(),
            Language::Portuguese => self.found_in_portuguese(found),
        }
    }

    /// What a group of findings is about.
    pub fn finding_group(&self, group: &GroupName) -> String {
        if self.language == Language::English {
            return group.to_string();
        }
        match group {
            GroupName::Settings => "configurações".to_owned(),
            GroupName::Ledger => "ledger".to_owned(),
            GroupName::Sources => "origens".to_owned(),
            GroupName::Source(name) => format!("origem {name}"),
            GroupName::Broker => "RabbitMQ".to_owned(),
            GroupName::Clocks => "relógios".to_owned(),
            GroupName::Fleet => "frota".to_owned(),
        }
    }

    /// A size: `1.4 GB`, `1,4 GB`.
    pub fn bytes(&self, size: i64) -> String {
        let text = tidemark_runtime::finding::bytes(size);
        match self.language {
            Language::English => text,
            Language::Portuguese => text.replace('.', ","),
        }
    }

    fn found_in_portuguese(&self, found: &Found) -> String {
        match found {
            Found::Failed(error) => format!("não foi possível verificar: {error}"),
            Found::Connect(error) => errors::connect(error),
            Found::Config(error) => errors::config(error),
            Found::Encrypted => "ninguém pode ler o tráfego nem se passar pelo servidor".to_owned(),
            Found::Exposed(exposure) => exposed(*exposure).to_owned(),
            Found::NoAnswer(seconds) => format!("sem resposta em {seconds} s: as outras verificações não foram feitas"),
            Found::Postgres { version, standby } => {
                let standby = if *standby { ", um hot standby" } else { "" };
                format!("PostgreSQL {version}{standby}")
            }
            Found::Source(found) => self.source_found(found),
            Found::Isolation(fault) => isolation(fault),
            Found::Backup(fault) => backup(fault),
            Found::ExposedFile(path) => {
                format!("{path} contém um segredo, e outros nesta máquina podem lê-lo")
            }
            Found::NothingPruned => {
                "retention.prune_every é 0s: nada é removido, e o ledger cresce sem limite".to_owned()
            }
            Found::SettingsValid => {
                "válidas; nenhum arquivo com segredo pode ser lido por outros".to_owned()
            }
            Found::SourceUrlNotSet(name) => format!("sources.{name}.url não está definida"),
            Found::NoSource => {
                "nenhuma origem está configurada: defina TIDEMARK_SOURCE_URL ou sources.NAME.url".to_owned()
            }
            Found::NoBroker => {
                "nenhum RabbitMQ está configurado: só `sync --local` funciona sem ele".to_owned()
            }
            Found::LedgerTooOld(version) => {
                format!("PostgreSQL {version}: a versão mais antiga que funciona é a 13")
            }
            Found::WrongEncoding(encoding) => format!(
                "a codificação é {encoding}, que não guarda todo texto do Chatwoot, e o PostgreSQL não muda a codificação de \
                 um banco: o Tidemark precisa de um banco em UTF8"
            ),
            Found::SettingsLost(zone) => format!(
                "as configurações da sessão se perdem (fuso {zone}): há um pooler que as descarta? Indique na URL o próprio \
                 servidor"
            ),
            Found::ConnectionsUsed { used, most } => format!("{used} de {most} conexões estão em uso"),
            Found::AutovacuumOff => {
                "o autovacuum está desligado: as tabelas crescem, e os planos as leem inteiras em vez de usar os índices"
                    .to_owned()
            }
            Found::Migrated(count) => format!("todas as {count} foram aplicadas"),
            Found::MigratedFurther(count) => format!(
                "todas desta versão foram aplicadas, e {count} de um tidemark mais novo, com as quais esta versão funciona"
            ),
            Found::NotMigrated => "o banco não foi migrado".to_owned(),
            Found::MigrationsMissing(count) => format!("{count} foram aplicadas, e esta versão tem mais"),
            Found::MigratedTooFar(version) => format!(
                "o banco tem a migração {version}, que esta versão não conhece e com a qual não funciona: use um tidemark \
                 mais novo"
            ),
            Found::MayNotBeConsole(login) => {
                format!("{login} não pode agir como console_service, por isso o console não inicia")
            }
            Found::MayBeService(login) => format!("{login} pode agir como etl_service"),
            Found::MayNotBeService { login, error } => {
                format!("{login} não pode agir como etl_service: {error}")
            }
            Found::Sizes { rows, ledger, largest } => {
                let largest: Vec<String> = largest
                    .iter()
                    .map(|(name, size)| format!("{name} {}", self.bytes(*size)))
                    .collect();
                format!(
                    "linhas {}, ledger {} ({})",
                    self.bytes(*rows),
                    self.bytes(*ledger),
                    largest.join(", ")
                )
            }
            Found::DeadRows { table, dead, live } => format!(
                "{table} tem {} linhas mortas e {} vivas",
                self.count(*dead),
                self.count(*live)
            ),
            Found::TargetStale(rows) => format!(
                "{} linhas do destino mudaram desde o último ANALYZE, mais da metade: o planejador usa números errados",
                self.count(*rows)
            ),
            Found::UnusedSlot { slot, kept } => format!(
                "o slot de replicação {slot} não é usado e retém {} de WAL",
                self.bytes(*kept)
            ),
            Found::Isolated => {
                "a segurança por linha mantém os tenants separados, pelo catálogo e por uma consulta de teste".to_owned()
            }
            Found::Answers { host, port } => format!("{host}:{port} responde"),
            Found::NoManagement(why) => {
                format!("versão, alarmes, políticas e membros das filas não foram vistos: {}", management(why))
            }
            Found::Management(why) => management(why),
            Found::QueueNotChecked { queue, why } => format!("{queue} não pode ser verificada: {why}"),
            Found::DeadMessages(count) => format!(
                "{} mensagens não puderam ser lidas e foram para a fila de mortas",
                self.count((*count).into())
            ),
            Found::QueueDiffers { queue, why } => {
                format!("{queue} difere da fila que a frota declara: {why}")
            }
            Found::QueuesMissing(queues) => format!(
                "ainda não existem: {}; o primeiro processo da frota as declara",
                queues.join(", ")
            ),
            Found::QueuesGood => "as quatro existem e são filas quorum duráveis".to_owned(),
            Found::RabbitTooOld(version) => {
                format!("RabbitMQ {version}: a versão mais antiga suportada é a 3.10")
            }
            Found::Rabbit(version) => format!("RabbitMQ {version}"),
            Found::ShortOf { node, memory } => {
                let of = if *memory { "memória" } else { "disco" };
                format!("falta {of} em {node}: quem publica está bloqueado")
            }
            Found::ConsumerTimeout => "a API não informa consumer_timeout: ele precisa ser maior que o bloco mais longo; o \
                                       padrão é 30 minutos"
                .to_owned(),
            Found::LimitBelowList { limit, least } => format!(
                "delivery-limit é {limit}: `tidemark dead list` precisa de pelo menos {least}, senão o RabbitMQ descarta \
                 mensagens mortas que ele listou"
            ),
            Found::LimitLow(limit) => format!(
                "delivery-limit é {limit}: reinícios da frota mandam mensagens para a fila de mortas, e seus blocos esperam"
            ),
            Found::LimitSet(limit) => format!("delivery-limit é {limit}"),
            Found::LimitOff => "delivery-limit é -1: desligado".to_owned(),
            Found::LimitNotNeeded => {
                "delivery-limit não está definido, e esta versão não precisa dele".to_owned()
            }
            Found::LimitByReturns => "nenhuma política define delivery-limit: depois de 20 devoluções de qualquer tipo o \
                                      RabbitMQ manda a mensagem para a fila de mortas, e seu bloco espera"
                .to_owned(),
            Found::LimitByFailures => "nenhuma política define delivery-limit: o RabbitMQ manda a mensagem para a fila de \
                                       mortas depois de 20 conexões que terminaram sem confirmá-la; as que um worker devolve \
                                       não contam"
                .to_owned(),
            Found::PolicyDrops { name, value, queue } => format!(
                "uma política define {name} = {value} em {queue}: as mensagens que ela descarta só são publicadas de novo \
                 depois de producer.requeue_after"
            ),
            Found::MembersAway {
                queue,
                online,
                members,
            } => format!("{online} de {members} membros de {queue} estão online"),
            Found::QueueLarge { queue, size } => {
                format!("{queue} contém {} de mensagens", self.bytes(*size))
            }
            Found::QueueLong { queue, messages } => format!(
                "{queue} contém {} mensagens; esta versão do RabbitMQ não informa o tamanho delas",
                self.count(*messages)
            ),
            Found::NoClock => "o relógio de nenhum servidor pôde ser lido".to_owned(),
            Found::ClockOff {
                of,
                than,
                seconds,
                ahead,
            } => {
                let side = if *ahead { "adiantado" } else { "atrasado" };
                let effect = match of {
                    ClockOf::Here => "os horários nos logs e traces desta máquina não batem com os outros",
                    ClockOf::Ledger | ClockOf::Source(_) => {
                        "nada se perde, mas o atraso e o lag das marcas-d'água ficam errados nessa medida"
                    }
                };
                format!(
                    "o relógio {} está {seconds} s {side} em relação ao {}: {effect}",
                    clock_of(of),
                    clock_of(than)
                )
            }
            Found::ClocksTogether(seconds) => format!("a diferença entre todos é de no máximo {seconds} s"),
            Found::NoLedger => "o ledger não pode ser consultado".to_owned(),
            Found::DeadChunks { run, tenant, chunks } => format!(
                "a execução {run} do tenant {tenant} tem blocos mortos: {}",
                self.count(*chunks)
            ),
            Found::RejectedRows(counts) => {
                let counts: Vec<String> = counts
                    .iter()
                    .map(|(tenant, count)| format!("{tenant} ({})", self.count(*count)))
                    .collect();
                format!("linhas rejeitadas: tenant {}", listed(&counts))
            }
            Found::WebhookGivenUp {
                webhook,
                messages,
                error,
            } => {
                let why = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
                format!(
                    "{} mensagens do webhook {webhook} foram abandonadas no último dia{why}",
                    self.count(*messages)
                )
            }
            Found::ProcessesRun(count) => format!("{count} em execução, com todos os papéis"),
            Found::NoProcess => "nenhum processo está em execução".to_owned(),
            Found::NoRole(role) => format!("nenhum {role} está em execução"),
            Found::OtherVersions { mine, others } => format!(
                "esta é a versão {mine}, mas outros usam outra: {}; termine a atualização",
                listed(others)
            ),
            Found::CutOff(instances) => format!(
                "estes não podem publicar ou não estão inscritos: {}; veja o RabbitMQ acima",
                listed(instances)
            ),
            Found::NoTenants => "ainda não há tenants".to_owned(),
            Found::Tenants(count) => {
                let noun = if *count == 1 { "tenant" } else { "tenants" };
                format!("{count} {noun}")
            }
            Found::SourcesUnknown(tenants) => {
                let tenants: Vec<String> = tenants
                    .iter()
                    .map(|(tenant, source)| format!("{tenant} (origem `{source}`)"))
                    .collect();
                format!("as origens destes tenants não estão configuradas aqui: {}", listed(&tenants))
            }
            Found::WithoutInbox(tenants) => {
                format!("sem caixa nenhuma execução é planejada: tenant {}", tenant_list(tenants))
            }
            Found::Behind { tenant, held_by } => {
                let held = held_by
                    .as_ref()
                    .map_or_else(String::new, |held| format!(", segurado por: {}", self.held_by(held)));
                format!("o tenant {tenant} está atrasado{held}")
            }
            Found::Unsynced(inbox) => unsynced(inbox),
            Found::Undecided { tenant, waiting, all } => {
                format!("tenant {tenant}: {}", self.undecided_of(*tenant, waiting, *all))
            }
            Found::Differing(tenants) => {
                format!("a última comparação encontrou diferenças: tenant {}", tenant_list(tenants))
            }
            Found::NotCompared(tenants) => format!(
                "nunca comparados com a origem, ou não nos últimos 30 dias: tenant {}",
                tenant_list(tenants)
            ),
        }
    }
}

fn management(fault: &ManagementFault) -> String {
    match fault {
        ManagementFault::Address(error) => format!("o endereço da API HTTP não pode ser lido: {error}"),
        ManagementFault::NoUrl => {
            "TIDEMARK_AMQP_MANAGEMENT_URL não é uma URL: escreva http://usuario:senha@host:15672".to_owned()
        }
        ManagementFault::NotDerived => {
            "o endereço da API HTTP não pode ser deduzido da URL do RabbitMQ".to_owned()
        }
        ManagementFault::NoUser => "o endereço da API HTTP não pode conter um usuário".to_owned(),
        ManagementFault::Authorities(error) => {
            format!("as autoridades certificadoras do sistema não podem ser lidas: {error}")
        }
        ManagementFault::NoApi(address) => format!("{address} não é a API HTTP do RabbitMQ"),
        ManagementFault::NoRequest => "o pedido não pode ser montado".to_owned(),
        ManagementFault::NoAnswer(address) => format!("{address} não responde"),
        ManagementFault::Refused(address) => {
            format!("{address} recusa este usuário: ele precisa da tag `monitoring`")
        }
        ManagementFault::Status { address, status } => format!("{address} responde com {status}"),
    }
}

const fn exposed(exposure: Exposure) -> &'static str {
    match exposure {
        Exposure::Plain => "texto puro: dados e senha podem ser lidos no caminho",
        Exposure::Optional => "criptografado só se o servidor oferece, e o certificado dele não é conferido",
        Exposure::Unverified => {
            "criptografado, mas o certificado não é conferido: outro servidor pode responder no lugar dele"
        }
    }
}

fn clock_of(of: &ClockOf) -> String {
    match of {
        ClockOf::Ledger => "do ledger".to_owned(),
        ClockOf::Source(name) => format!("da origem `{name}`"),
        ClockOf::Here => "desta máquina".to_owned(),
    }
}

fn listed(items: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len() {
        ..=SHOWN => shown,
        all => format!("{shown} e mais {}", all - SHOWN),
    }
}

fn tenant_list(tenants: &[TenantId]) -> String {
    listed(&tenants.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn unsynced(inbox: &UnsyncedInbox) -> String {
    let why = match inbox.reason {
        UnsyncedReason::Unmapped => "um operador a desmapeou",
        UnsyncedReason::DiscoverOff => "--discover está desligado",
        UnsyncedReason::SeveralTenants => "vários tenants têm a conta, escolha um",
        UnsyncedReason::NoAccount => "seu tenant foi criado sem a conta",
    };
    let name = inbox
        .inbox_name
        .as_ref()
        .map_or_else(String::new, |name| format!(" `{name}`"));
    format!(
        "a caixa {}{name} da conta {} (origem `{}`) não é sincronizada: {why}",
        inbox.inbox_id, inbox.account_id, inbox.source
    )
}

fn isolation(fault: &IsolationFault) -> String {
    const PROBE: &str = "um teste entre tenants passou";
    match fault {
        IsolationFault::LoginIsSuperuser { login } => {
            format!("o login {login} é superusuário: a segurança por linha não vale para ele")
        }
        IsolationFault::LoginBypasses { login } => format!("o login {login} tem BYPASSRLS"),
        IsolationFault::LoginCanBecome { login, role } => {
            format!("o login {login} pode virar {role}, e a segurança por linha não vale para esse papel")
        }
        IsolationFault::RoleIsSuperuser { role } => format!("o papel {role} é superusuário"),
        IsolationFault::RoleBypasses { role } => format!("o papel {role} tem BYPASSRLS"),
        IsolationFault::RoleSeesMore { role, of } => {
            format!("{role} é membro de {of}, que vê mais de um tenant")
        }
        IsolationFault::Off { table } => format!("a segurança por linha está desligada em {table}"),
        IsolationFault::NotForced { table, owner } => {
            format!("a segurança por linha não é forçada em {table}: não vale para o dono {owner}")
        }
        IsolationFault::ForeignPolicy { policy, table } => {
            format!("a política {policy} em {table} dá a papéis um acesso que nenhuma migração dá")
        }
        IsolationFault::TenantIsSet { value } => format!(
            "app.current_tenant_id é {value} antes de alguém o definir: uma sessão que não o define age por esse tenant"
        ),
        IsolationFault::ViewShowsAll { view } => {
            format!("a view {view} mostra as linhas de todos os tenants a todo papel que pode lê-la")
        }
        IsolationFault::BoundBypasses { login } => {
            format!("o login {login} é ligado a um tenant, e a segurança por linha não vale para ele")
        }
        IsolationFault::BoundCanBecome { login, role } => {
            format!(
                "o login {login} é ligado a um tenant e pode virar {role}, que vê mais do que esse tenant"
            )
        }
        IsolationFault::OffBeside { table } => {
            format!("a segurança por linha está desligada em {table}, ao lado das conversas dos tenants")
        }
        IsolationFault::TenantsMayWrite { table } => format!("authenticated_users pode gravar em {table}"),
        IsolationFault::TenantsMayCreate { schema } => {
            format!("authenticated_users pode criar objetos no schema {schema}, junto das tabelas do ledger")
        }
        IsolationFault::GroupMayLogIn { role } => {
            format!("o papel {role} pode fazer login, e quem tem a senha age com os direitos dele")
        }
        IsolationFault::LoginMayGrant { login } => format!(
            "o login {login} tem CREATEROLE e, antes do PostgreSQL 16, pode dar a si quase qualquer papel"
        ),
        IsolationFault::SeenWithoutTenant {} => format!("{PROBE}: linhas são vistas sem um tenant"),
        IsolationFault::SeenWithNoNumber {} => {
            format!("{PROBE}: linhas são vistas com um tenant que não é um número")
        }
        IsolationFault::OthersSeen {} => format!("{PROBE}: linhas de outros tenants são vistas"),
        IsolationFault::WrittenForOther {} => {
            format!("{PROBE}: uma linha pode ser gravada para outro tenant")
        }
        IsolationFault::RowSeenWithoutTenant {} => format!("{PROBE}: uma linha é vista sem seu tenant"),
        IsolationFault::OthersRowSeen {} => format!("{PROBE}: a linha de outro tenant é vista"),
        IsolationFault::OthersRowChanged {} => format!("{PROBE}: a linha de outro tenant pode ser alterada"),
        IsolationFault::OthersRowDeleted {} => format!("{PROBE}: a linha de outro tenant pode ser excluída"),
        IsolationFault::RowGivenAway {} => format!("{PROBE}: uma linha pode ser dada a outro tenant"),
    }
}

fn backup(fault: &BackupFault) -> String {
    match fault {
        BackupFault::NoPolicy { table } => format!(
            "nenhuma política mostra todas as linhas de {table} a admin_users: faltam linhas em um dump feito por um membro"
        ),
        BackupFault::Restrictive { policy, table } => format!(
            "a política restritiva {policy} esconde de admin_users linhas de {table}: podem faltar linhas em um dump feito \
             por um membro"
        ),
        BackupFault::NotReadable { table } => {
            format!("admin_users não pode ler {table}: um dump feito por um membro falha")
        }
    }
}
