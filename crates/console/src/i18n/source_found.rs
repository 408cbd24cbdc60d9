//! What the doctor found at a source, in Portuguese.

use tidemark_runtime::finding::{IndexReason, Lack, Relation, Scanned, SourceFound, time};
use tidemark_shared::chatwoot::Version;

use super::Texts;

impl Texts {
    pub(super) fn source_found(&self, found: &SourceFound) -> String {
        match found {
            SourceFound::TooOld(version) => {
                format!("PostgreSQL {version}: a versão mais antiga suportada é a 13")
            }
            SourceFound::SettingsDropped { zone, read_only } => {
                let writes = if *read_only { "sim" } else { "não" };
                format!(
                    "as configurações da sessão não chegam (fuso {zone}, somente leitura: {writes}): um pooler pode \
                     descartá-las. Conecte-se ao próprio servidor"
                )
            }
            SourceFound::Superuser(login) => format!(
                "{login} é superusuário neste servidor: as sessões só leem, então basta um login com SELECT"
            ),
            SourceFound::SeesNotAll => "este login não vê por completo qual transação segura o limite de leitura, nem desde \
                                        quando; as sincronizações não precisam disso"
                .to_owned(),
            SourceFound::SqlAscii => "a codificação é SQL_ASCII, então o servidor não converte nada: os textos são lidos como \
                                      UTF8, e uma conversa com outros bytes é rejeitada"
                .to_owned(),
            SourceFound::Encoding(encoding) => encoding.clone(),
            SourceFound::TablesReadable => "todas as tabelas e colunas necessárias podem ser lidas".to_owned(),
            SourceFound::ViewReadable(view) => format!("a view {view} pode ser lida"),
            SourceFound::Lacks(lacks) => {
                let lacks: Vec<String> = lacks.iter().map(lack).collect();
                format!("à origem falta: {}", lacks.join(", "))
            }
            SourceFound::ShowsNothing => "a origem não mostra nenhuma conversa: o banco está vazio, ou uma política esconde \
                                          todas as linhas deste login"
                .to_owned(),
            SourceFound::RowsHidden(tables) => format!(
                "a segurança por linha vale para este login em {}: linhas escondidas contam como excluídas",
                tables.join(", ")
            ),
            SourceFound::NoColumn { of, column, first } => {
                let of = match of {
                    Relation::Table(name) => format!("a tabela {name}"),
                    Relation::View(name) => format!("a view {name}"),
                };
                format!(
                    "{of} não tem a coluna {column}: ela é NULL em todas as linhas{}",
                    comes_with(*first)
                )
            }
            SourceFound::NoTable { table, first } => format!(
                "a origem não tem a tabela {table}: ela conta como vazia{}",
                comes_with(*first)
            ),
            SourceFound::Withheld(names) => format!(
                "o login não pode ler {}: isso conta como vazio; o dono pode executar: GRANT SELECT ON … TO o login",
                names.join(", ")
            ),
            SourceFound::WideId(id) => {
                format!("o id de {id} não cabe em 32 bits: suas conversas não podem ser sincronizadas")
            }
            SourceFound::NotShown { view, columns } => format!(
                "a view {view} não mostra {}: são NULL em todas as linhas",
                columns.join(", ")
            ),
            SourceFound::KeysMissing { view, keys, checked } => format!(
                "view {view}: suas mensagens não têm {} (em nenhuma das {checked} conferidas): NULL em todas as mensagens",
                keys.join(", ")
            ),
            SourceFound::Newest { first, newest } => {
                format!("as colunas são as do Chatwoot {first} a {newest}, ou de uma versão mais nova")
            }
            SourceFound::Before { first, next, brings } => format!(
                "as colunas são as do Chatwoot {first} ou mais novo, antes do {next}; o {next} traz {}",
                brings.join(", ")
            ),
            SourceFound::Mixture {
                has,
                newest,
                lacks,
                oldest,
            } => format!(
                "as colunas não são de nenhuma versão do Chatwoot: {has} vem com o {newest}, mas falta {lacks} do {oldest}"
            ),
            SourceFound::NoVersion => "as colunas não são de nenhuma versão do Chatwoot".to_owned(),
            SourceFound::ReplaysNothing(seconds) => {
                format!("o standby não aplica nada há {seconds} s: ele não acompanha seu primário")
            }
            SourceFound::Standby => "um standby: as marcas-d'água ficam 10 s atrás do que ele aplicou. `lookback` e `verify` \
                                     encontram gravações com horário muito anterior ao commit"
                .to_owned(),
            SourceFound::NoCommitReplayed => {
                "o standby não aplicou nenhum commit desde que iniciou: as marcas-d'água esperam pelo primeiro".to_owned()
            }
            SourceFound::Prepared { gid, since } => format!(
                "a transação preparada {gid} está aberta desde {}: as marcas-d'água ficam antes dela",
                time(*since)
            ),
            SourceFound::WentBack {
                name,
                server,
                known,
                seen,
            } => format!(
                "a origem `{name}` em {server} voltou no tempo (seus ids de transação estavam em {known}, agora em {seen}): \
                 foi restaurada ou trocada; nada é planejado dela"
            ),
            SourceFound::NoLongWriter => "nenhuma transação grava há muito tempo".to_owned(),
            SourceFound::LongWriter { pid, who, since } => {
                let since = since.map_or_else(String::new, |since| format!(" desde {}", time(since)));
                format!(
                    "o pid {pid} ({}) grava em uma única transação{since}: as marcas-d'água ficam antes dela",
                    who.join(", ")
                )
            }
            SourceFound::Indexed => "toda tabela grande tem os índices de que precisa".to_owned(),
            SourceFound::NoIndex {
                table,
                size,
                columns,
                why,
            } => format!(
                "{table} ({}) não tem índice em {columns}: {}",
                self.bytes(*size),
                index_reason(*why)
            ),
            SourceFound::InvalidIndex {
                table,
                size,
                columns,
                index,
                why,
            } => format!(
                "{table} ({}) tem um índice inválido em {columns}, {index}: sua criação falhou ou está em curso; {}",
                self.bytes(*size),
                index_reason(*why)
            ),
            SourceFound::NeverAnalyzed { table, size } => format!(
                "{table} ({}) nunca passou por ANALYZE: o planejador usa números errados",
                self.bytes(*size)
            ),
            SourceFound::StaleStatistics { table, size } => format!(
                "{table} ({}) mudou mais da metade desde o último ANALYZE: o planejador usa números errados",
                self.bytes(*size)
            ),
            SourceFound::TooFewMessages => "há mensagens de menos para julgar o custo".to_owned(),
            SourceFound::KeysCost { view, size } => format!(
                "listar as chaves de {view} lê todas as mensagens ({}): o planejador só elimina um join que não é usado se for \
                 um LEFT JOIN em uma chave única, como GROUP BY conversation_id",
                self.bytes(*size)
            ),
            SourceFound::RowsCost { view, size } => format!(
                "cada conversa de {view} lê todas as mensagens ({}): a condição não chega à subconsulta que as agrega, ou as \
                 estatísticas estão velhas",
                self.bytes(*size)
            ),
            SourceFound::CostGood(cost) => {
                format!("listar chaves não lê mensagens, e um bloco lê só as suas (custo planejado {cost})")
            }
        }
    }
}

pub(super) fn lack(lack: &Lack) -> String {
    match lack {
        Lack::Table(name) => format!("a tabela {name}"),
        Lack::View(name) => format!("a view {name}"),
        Lack::Column(name) => format!("a coluna {name}"),
        Lack::Right(name) => format!("o direito de SELECT em {name}"),
        Lack::RightToColumn(name) => format!("o direito de SELECT na coluna {name}"),
        Lack::Type {
            column,
            expected,
            found,
        } => format!("a coluna {column} como {expected} (ela é {found})"),
    }
}

fn comes_with(first: Option<Version>) -> String {
    first.map_or_else(String::new, |first| format!("; vem com o Chatwoot {first}"))
}

fn index_reason(reason: IndexReason) -> String {
    match reason {
        IndexReason::PlanScansAllTenants => {
            "cada plano lê as conversas de todos os tenants, e não só as de um".to_owned()
        }
        IndexReason::ContactScans => {
            "cada contato alterado custa uma leitura de todas as conversas".to_owned()
        }
        IndexReason::ChunkScans(scanned) => format!("cada bloco lê {}", all(scanned)),
        IndexReason::PlanScans(scanned) => format!("cada plano lê {}", all(scanned)),
        IndexReason::OldEdits => {
            "só a verificação e as execuções completas encontram edições de mensagens mais antigas que \
                                  producer.message_edit_window"
                .to_owned()
        }
        IndexReason::PlanScansSlas => "cada plano lê os SLAs de todas as conversas".to_owned(),
        IndexReason::PlanScansWithoutDigests => {
            "cada plano lê todas as conversas, mesmo sem comparar digests (producer.digest_interval)"
                .to_owned()
        }
    }
}

const fn all(scanned: Scanned) -> &'static str {
    match scanned {
        Scanned::Messages => "todas as mensagens",
        Scanned::Answers => "todas as respostas de satisfação",
        Scanned::Events => "todos os eventos de relatório",
        Scanned::Attachments => "todos os anexos",
        Scanned::Participants => "todos os participantes",
        Scanned::Contacts => "todos os contatos",
    }
}
