//! The names of the doctor's checks, in the reader's language.

use tidemark_runtime::finding::Check;

use super::{Language, Texts};

impl Texts {
    pub const fn check(&self, check: Check) -> &'static str {
        match self.language {
            Language::English => check.as_str(),
            Language::Portuguese => in_portuguese(check),
        }
    }
}

const fn in_portuguese(check: Check) -> &'static str {
    match check {
        Check::Alarm => "alarme",
        Check::Backup => "backup",
        Check::Chatwoot => "Chatwoot",
        Check::Clock => "relógio",
        Check::Columns => "colunas",
        Check::Connection => "conexão",
        Check::Connections => "conexões",
        Check::Dead => "mortos",
        Check::Disk => "disco",
        Check::Encoding => "codificação",
        Check::Encryption => "criptografia",
        Check::Fence => "limite de leitura",
        Check::Files => "arquivos",
        Check::Fleet => "frota",
        Check::Inboxes => "caixas",
        Check::Index => "índice",
        Check::Isolation => "isolamento",
        Check::Login => "login",
        Check::Members => "membros",
        Check::Migrations => "migrações",
        Check::Policies => "políticas",
        Check::Processes => "processos",
        Check::Queues => "filas",
        Check::Rejects => "rejeitadas",
        Check::Retention => "retenção",
        Check::Rights => "direitos",
        Check::Rows => "linhas",
        Check::Session => "sessão",
        Check::Settings => "configurações",
        Check::Statistics => "estatísticas",
        Check::Tenants => "tenants",
        Check::Time => "tempo",
        Check::Timeout => "tempo limite",
        Check::Vacuum => "vacuum",
        Check::Verified => "verificação",
        Check::Version => "versão",
        Check::Versions => "versões",
        Check::View => "view",
        Check::ViewCost => "custo da view",
        Check::Webhooks => "webhooks",
    }
}
