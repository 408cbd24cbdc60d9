//! Why something did not work, in the reader's language. Only what a server, a library or the operating system said stays as
//! it came.

use tidemark_broker::QueueError;
use tidemark_operations::error::{OperationError, PlanError, ServerKind, TlsFault};
use tidemark_postgres::connect::ConnectError;
use tidemark_postgres::report::report;
use tidemark_runtime::config::ConfigError;
use tidemark_shared::run::RunType;
use tidemark_source::SourceError;

use super::source_found::lack;
use super::{Language, Texts};

impl Texts {
    /// An error with its causes, as the command line says it in English.
    pub fn operation_error(&self, error: &OperationError) -> String {
        if self.language == Language::English {
            return report(error);
        }
        match error {
            OperationError::Refused(refusal) => self.refusal(refusal),
            OperationError::Ledger(error) => format!("o ledger não respondeu: {}", report(error)),
            OperationError::Config(error) => config(error),
            OperationError::Source(error) => source(error),
            OperationError::Queue(error) => queue(error),
            OperationError::Plan(error) => self.plan(error),
            OperationError::Execute(error) => {
                format!("a leitura da origem ou do destino falhou: {}", report(error))
            }
            OperationError::Script(error) => format!("o banco antigo não pode ser lido: {}", report(error)),
            OperationError::RowImport(error) => {
                format!(
                    "as linhas do banco antigo não podem ser importadas: {}",
                    report(error)
                )
            }
        }
    }

    /// Why a tenant's plan is refused.
    pub fn plan_error(&self, error: &PlanError) -> String {
        match self.language {
            Language::English => report(error),
            Language::Portuguese => self.plan(error),
        }
    }

    /// Why the settings of RabbitMQ cannot be used.
    pub fn broker_not_set(&self, error: &str) -> String {
        match self.language {
            Language::English => error.to_owned(),
            Language::Portuguese => format!("as configurações do RabbitMQ não podem ser usadas: {error}"),
        }
    }

    fn plan(&self, error: &PlanError) -> String {
        match error {
            PlanError::Ledger(error) => format!("o ledger não respondeu: {}", report(error)),
            PlanError::Target { changed, source } => {
                format!("o destino não pode ser lido ({changed}): {}", report(source))
            }
            PlanError::Source(error) => source(error),
            PlanError::Config(error) => config(error),
            PlanError::NoInboxes(tenant, name) => format!(
                "o tenant {tenant} não tem caixas na origem `{name}`: mapeie-as com `tidemark inbox map --tenant {tenant} \
                 --inbox …`"
            ),
            PlanError::NoAccountInboxes {
                tenant,
                account,
                source_name,
            } => format!(
                "a conta {account} da origem `{source_name}` não tem caixa para o tenant {tenant}: `tidemark account list` \
                 mostra as contas com suas caixas"
            ),
            PlanError::Removed(tenant) => format!("o tenant {tenant} foi removido"),
            PlanError::TooManyUnreadable(error) => format!(
                "são conversas ilegíveis demais para rejeitar linha por linha: {}",
                source(error)
            ),
            PlanError::MassDelete {
                run_type,
                tenant,
                gone,
                live,
                also: _,
            } => {
                let command = if *run_type == RunType::Resync {
                    "resync"
                } else {
                    "sync"
                };
                format!(
                    "{} das {} conversas do tenant sumiram da origem de uma vez: nada é marcado como excluído; se isso \
                     estiver certo, execute `tidemark {command} --tenant {tenant} … --allow-mass-delete`",
                    self.count(*gone),
                    self.count(*live)
                )
            }
            PlanError::Empty { tenant, name, live } => format!(
                "a origem `{name}` não mostra nenhuma conversa, e o tenant tem {}: nada é marcado como excluído; confira o \
                 que o login dela pode ler ou, se isso estiver certo, execute `tidemark sync --tenant {tenant} \
                 --allow-mass-delete`",
                self.count(*live)
            ),
        }
    }
}

fn source(error: &SourceError) -> String {
    match error {
        SourceError::Connect(error) => connect(error),
        SourceError::Config(error) => config(error),
        SourceError::Unreachable { name, server, source } => {
            format!(
                "não há conexão com a origem `{name}` em {server}: {}",
                report(source)
            )
        }
        SourceError::Query {
            attempted: _,
            name,
            server,
            source,
        } => format!(
            "uma consulta à origem `{name}` em {server} falhou: {}",
            report(source)
        ),
        SourceError::Busy { name, server, .. } => format!(
            "uma tabela da origem `{name}` em {server} está bloqueada, por exemplo por uma migração: ela é lida quando o \
             bloqueio terminar"
        ),
        SourceError::Schema {
            name,
            server,
            missing,
        } => format!(
            "à origem `{name}` em {server} faltam tabelas, colunas ou direitos necessários: {}",
            missing.iter().map(lack).collect::<Vec<_>>().join(", ")
        ),
        SourceError::WentBack {
            name,
            server,
            known,
            seen,
        } => format!(
            "a origem `{name}` em {server} voltou no tempo (seus ids de transação estavam em {known}, agora em {seen}): foi \
             restaurada ou trocada; nada é planejado dela"
        ),
    }
}

pub(super) fn config(error: &ConfigError) -> String {
    match error {
        ConfigError::Read { path, source } => format!("{} não pode ser lido: {source}", path.display()),
        ConfigError::Syntax { path, message } => format!("{} não é TOML válido: {message}", path.display()),
        ConfigError::Value(text) => format!("esta configuração não foi entendida: {text}"),
        ConfigError::Missing(variable, setting) => format!(
            "{variable} não está definida: defina a variável de ambiente, ou `{setting}` em tidemark.toml"
        ),
        ConfigError::UnknownSource(name) => format!(
            "a origem `{name}` não está configurada: defina sources.{name}.url em tidemark.toml (TIDEMARK_SOURCE_URL é a \
             `main`)"
        ),
    }
}

pub(super) fn connect(error: &ConnectError) -> String {
    match error {
        ConnectError::Url { label: _ } => {
            "a URL não é de um PostgreSQL: escreva postgres://usuario:senha@host:porta/banco, \
                                           com os caracteres especiais de usuário e senha codificados com %"
                .to_owned()
        }
        ConnectError::Hosts { label: _, problem } => format!("a URL não pode ser usada: {problem}"),
        ConnectError::File {
            label: _,
            path,
            source,
        } => {
            format!(
                "{}, que a URL indica, não pode ser lido: {source}",
                path.display()
            )
        }
        ConnectError::Tls { server, fault, .. } => format!(
            "não há conexão criptografada com o PostgreSQL em {server}: {}",
            tls(*fault, ServerKind::Postgres)
        ),
        ConnectError::Plain {
            server,
            sqlstate,
            source,
            ..
        } => format!(
            "o PostgreSQL em {server} recusou a conexão, que não é criptografada ({sqlstate}): tire sslmode da URL, ou confira \
             o usuário e o nome do banco: {}",
            report(source)
        ),
        ConnectError::Unreachable { server, source, .. } => format!(
            "o PostgreSQL em {server} não pode ser alcançado: ele está em execução, e esta máquina pode se conectar a ele? {}",
            report(source)
        ),
        ConnectError::Refused {
            server,
            sqlstate,
            source,
            ..
        } => format!(
            "o PostgreSQL em {server} recusou a conexão ({sqlstate}): confira usuário, senha e nome do banco: {}",
            report(source)
        ),
        ConnectError::Pooler { label: _, server } => format!(
            "as configurações da sessão não chegam ao PostgreSQL em {server}, então há um pooler como o PgBouncer na frente: \
             para o banco de análise defina TIDEMARK_DATABASE_POOLER=transaction; uma origem é lida sem pooler"
        ),
    }
}

fn queue(error: &QueueError) -> String {
    match error {
        QueueError::Url => {
            "a URL do RabbitMQ não pode ser lida: escreva amqp://usuario:senha@host:5672/vhost, com os \
                            caracteres especiais codificados com %"
                .to_owned()
        }
        QueueError::UrlParameter(problem) => format!("a URL do RabbitMQ não pode ser usada: {problem}"),
        QueueError::File { path, source } => {
            format!(
                "{}, que a URL do RabbitMQ indica, não pode ser lido: {source}",
                path.display()
            )
        }
        QueueError::Tls { server, fault, .. } => format!(
            "não há conexão criptografada com o RabbitMQ em {server}: {}",
            tls(*fault, ServerKind::Rabbitmq)
        ),
        QueueError::Prefix { length, longest } => {
            format!("o prefixo das filas tem {length} bytes: escolha um de 1 a {longest}")
        }
        QueueError::Unreachable { server, source } => format!(
            "o RabbitMQ em {server} não pode ser alcançado: confira se ele está em execução e se TIDEMARK_AMQP_URL indica seu \
             host, porta e esquema: {}",
            report(source)
        ),
        QueueError::UrlFile(error) => {
            format!(
                "o arquivo com a URL do RabbitMQ não pode ser lido: {}",
                report(error)
            )
        }
        QueueError::Refused { server, source, .. } => format!(
            "o RabbitMQ em {server} recusou o login: confira usuário, senha e vhost em TIDEMARK_AMQP_URL, e se o usuário pode \
             usar o vhost: {}",
            report(source)
        ),
        QueueError::Topology {
            server,
            prefix,
            source,
        } => format!(
            "as filas `{prefix}.*` não podem ser declaradas no RabbitMQ em {server}: o usuário precisa do direito de \
             configurá-las; filas com estes nomes e outros argumentos devem ser apagadas, ou outro prefixo escolhido: {}",
            report(source)
        ),
        QueueError::Timeout { limit, .. } => {
            format!("o RabbitMQ não respondeu em {} s", limit.as_secs())
        }
        QueueError::Amqp { source, .. } => format!("o RabbitMQ recusou o pedido: {}", report(source)),
        QueueError::Unsubscribed { queue } => format!("o RabbitMQ encerrou a assinatura de {queue}"),
        QueueError::NotStored { outcome } => format!("o RabbitMQ não guardou um evento ({outcome:?})"),
        QueueError::NotCopied { outcome } => format!(
            "uma mensagem morta não pôde ser substituída por uma cópia ({outcome:?}); ela fica na fila: tente de novo quando o \
             RabbitMQ aceitar mensagens"
        ),
    }
}

/// How to fix a connection that is not encrypted.
const fn tls(fault: TlsFault, server: ServerKind) -> &'static str {
    match (fault, server) {
        (TlsFault::UnknownAuthority, ServerKind::Postgres) => {
            "o certificado não é assinado por uma autoridade confiável aqui: indique o arquivo da autoridade com \
             sslrootcert=FILE na URL"
        }
        (TlsFault::UnknownAuthority, ServerKind::Rabbitmq) => {
            "o certificado não é assinado por uma autoridade confiável aqui: indique o arquivo da autoridade com \
             cacertfile=FILE na URL"
        }
        (TlsFault::WrongName, ServerKind::Postgres) => {
            "o certificado é de outros nomes de host: use um deles na URL, ou sslmode=verify-ca, que não confere o nome"
        }
        (TlsFault::WrongName, ServerKind::Rabbitmq) => {
            "o certificado é de outros nomes de host: use um deles na URL"
        }
        (TlsFault::Expired, _) => "o certificado venceu: renove-o no servidor",
        (TlsFault::NotYetValid, _) => {
            "o certificado ainda não é válido: compare os relógios desta máquina e de quem o emitiu"
        }
        (TlsFault::Invalid, _) => "o certificado não pode ser aceito: emita outro",
        (TlsFault::OurCertificate, ServerKind::Postgres) => {
            "ele exige um certificado de cliente em que confie: indique um com sslcert=FILE e sslkey=FILE na URL"
        }
        (TlsFault::OurCertificate, ServerKind::Rabbitmq) => {
            "ele exige um certificado de cliente em que confie: indique um com certfile=FILE e keyfile=FILE na URL"
        }
        (TlsFault::NoTls, ServerKind::Postgres) => {
            "ele não oferece criptografia: configure-a no servidor, ou escreva sslmode=disable na URL se a rede for segura"
        }
        (TlsFault::NoTls, ServerKind::Rabbitmq) => {
            "o servidor não fala TLS nesta porta: a porta do RabbitMQ para TLS costuma ser 5671; amqp:// é para a outra porta"
        }
    }
}
