//! Texts that every page has.

use super::texts;

texts! {
    Common {
        skip: "Skip to the content", "Ir para o conteúdo";
        menu: "Menu", "Menu";
        search: "Search", "Buscar";
        search_hint: "Run 18, chunk 18/3, tenant, conversation 1:4711", "Execução 18, bloco 18/3, tenant, conversa 1:4711";
        preferences: "Language, time zone, theme", "Idioma, fuso horário, tema";
        language: "Language", "Idioma";
        zone: "Times in", "Horários em";
        zone_utc: "UTC", "UTC";
        zone_browser: "my browser's zone", "fuso do meu navegador";
        zone_tenant: "the tenant's zone", "fuso do tenant";
        theme: "Theme", "Tema";
        theme_auto: "like the system", "como o sistema";
        theme_light: "light", "claro";
        theme_dark: "dark", "escuro";
        save: "Save", "Salvar";
        sign_in: "Sign in", "Entrar";
        signed_in: "You are signed in", "Você entrou";
        go_on_text: "Your session had ended when you sent a form. It was kept, and nothing was done yet.", "Sua sessão tinha terminado quando você enviou um formulário. Ele foi guardado, e nada foi feito ainda.";
        go_on: "Send it now", "Enviar agora";
        sign_out: "Sign out", "Sair";
        user: "User", "Usuário";
        password: "Password", "Senha";
        wrong_password: "User or password is wrong.", "Usuário ou senha incorretos.";
        too_many_attempts: "Too many attempts. Try again in {seconds} seconds.", "Tentativas demais. Tente novamente em {seconds} segundos.";
        no_users: "There is no user yet. Add one with this command:", "Ainda não há usuários. Adicione um com este comando:";
        ago: "{span} ago", "há {span}";
        in_future: "in {span}", "em {span}";
        never: "never", "nunca";
        all: "all", "todos";
        yes: "yes", "sim";
        no: "no", "não";
        cancel: "Cancel", "Cancelar";
        newer: "Newest", "Mais recentes";
        older: "Older", "Mais antigos";
        filter: "Filter", "Filtrar";
        clear_filters: "Clear the filters", "Limpar os filtros";
        nothing_matches: "Nothing matches these filters.", "Nada corresponde a estes filtros.";
        nothing_here: "Nothing here.", "Nada aqui.";
        command: "The same on the command line", "O mesmo na linha de comando";
        copy: "Copy", "Copiar";
        as_of: "As of {time}", "Situação de {time}";
        ledger_away: "The ledger does not answer. This page shows the last state, and goes on by itself.", "O ledger não responde. Esta página mostra o último estado e continua sozinha.";
        stream_away: "The connection to the console is interrupted. It is opened again by itself.", "A conexão com o console foi interrompida. Ela é reaberta sozinha.";
        broker_away: "RabbitMQ does not answer. Chunks wait in the ledger until it is back.", "O RabbitMQ não responde. Os blocos esperam no ledger até ele voltar.";
        read_only: "This console is read-only (console.read_only).", "Este console é somente leitura (console.read_only).";
        console_read_only: "The console is read-only.", "O console é somente leitura.";
        needs_operator: "Needs the role operator.", "Requer o papel operator.";
        needs_admin: "Needs the role admin.", "Requer o papel admin.";
        needs_values: "Needs the right to see values.", "Requer o direito de ver valores.";
        sources_off: "This console opens no sessions on sources (console.sources = false).", "Este console não abre sessões nas origens (console.sources = false).";
        forbidden: "You may not do this", "Você não pode fazer isto";
        forbidden_text: "Your role is {role}. This needs the role {needed}.", "Seu papel é {role}. Isto requer o papel {needed}.";
        unknown_page: "There is no such page", "Esta página não existe";
        unknown_page_text: "The address is wrong, it is another tenant's, or retention has removed the run.", "O endereço está errado, é de outro tenant, ou a retenção removeu a execução.";
        away: "The ledger does not answer", "O ledger não responde";
        away_text: "The page comes back when the ledger does. Try again in a moment.", "A página volta quando o ledger voltar. Tente novamente em instantes.";
        failed: "This did not work", "Isto não funcionou";
        internal: "The console made a mistake", "O console cometeu um erro";
        internal_text: "The log of the console has the details.", "O log do console tem os detalhes.";
        unstorable_text: "A text has a character that the database cannot store, such as a NUL: leave it out.", "Um texto tem um caractere que o banco não pode guardar, como um NUL: retire-o.";
        stale: "Somebody changed this in the meantime. Look again, and repeat.", "Alguém mudou isto nesse meio-tempo. Olhe de novo e repita.";
        signed_in_as: "{user}, {role}", "{user}, {role}";
        reason: "Reason", "Motivo";
        reason_hint: "Stored in the audit", "Guardado na auditoria";
        at_least: "{count} or more", "{count} ou mais";
        off_notice: "Nobody signs in: this console is for this machine alone.", "Ninguém entra com senha: este console é só para esta máquina.";
    }
}
