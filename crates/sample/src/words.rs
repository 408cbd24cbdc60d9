//! Names and sentences of the sample.

/// Portuguese is most frequent, because the first installations use it.
pub const PORTUGUESE: &[&str] = &[
    "Bom dia!",
    "Boa tarde, tudo bem?",
    "Olá, preciso de ajuda com o meu pedido.",
    "Ainda não recebi a confirmação do pagamento.",
    "O prazo de entrega já passou e ninguém me avisou.",
    "Você pode me informar o número do protocolo, por favor?",
    "Claro, vou verificar agora mesmo no sistema.",
    "Só um momento, por gentileza.",
    "Encaminhei a sua solicitação para o setor responsável.",
    "A segunda via do boleto foi enviada para o seu e-mail.",
    "Não consigo acessar a minha conta desde ontem à noite.",
    "Tente redefinir a senha pelo link que enviei.",
    "Deu certo, muito obrigado pela atenção!",
    "Poderia confirmar o endereço completo com o CEP?",
    "Rua das Acácias, 120, apartamento 31, São José dos Campos.",
    "O técnico passa aí amanhã entre 8h e 12h.",
    "Gostaria de cancelar a assinatura.",
    "Qual é o horário de funcionamento no sábado?",
    "Atendemos de segunda a sexta, das 9h às 18h.",
    "O valor total ficou em R$ 1.249,90 em até 10 vezes.",
    "Segue o comprovante em anexo.",
    "Meu CPF está correto, mas o nome saiu errado na nota fiscal.",
    "Vocês têm previsão de quando volta ao estoque?",
    "Fico no aguardo, obrigada.",
    "Disponha! Posso ajudar em algo mais?",
    "Não, era só isso mesmo. Até logo!",
];

pub const ENGLISH: &[&str] = &[
    "Hi there, is anybody online?",
    "My order arrived damaged, what should I do now?",
    "Could you please send me a picture of the box?",
    "I've issued the refund; it takes 3-5 business days.",
    "That's perfect, thanks a lot!",
    "Is there a discount for annual plans?",
    "Let me check with the team and come right back to you.",
    "The link says \"expired\", can you resend it?",
];

pub const SPANISH: &[&str] = &[
    "Buenos días, quisiera hacer una consulta.",
    "¿Cuánto cuesta el envío a Montevideo?",
    "Le confirmo que su pago fue recibido.",
    "No me funciona la aplicación después de la actualización.",
    "Muchas gracias por su paciencia.",
    "¡Quedó resuelto, mil gracias!",
];

pub const ARABIC: &[&str] = &[
    "السلام عليكم، أحتاج إلى مساعدة.",
    "متى يصل الطلب؟",
    "تم إرسال الفاتورة إلى بريدك الإلكتروني.",
    "رقم الطلب \u{200e}#4521\u{200f} لم يصل بعد.",
    "شكرًا جزيلاً لكم!",
];

pub const CHINESE: &[&str] = &[
    "你好，请问有人在吗？",
    "我的订单还没有到。",
    "请提供您的订单号，谢谢。",
    "已经为您办理退款。",
    "好的，非常感谢！",
];

pub const EMOJI: &[&str] = &["👍", "😀😀😀", "❤️", "👨‍👩‍👧‍👦", "🇧🇷", "🙏🏽", "🎉 ✅", "😡"];

pub const ACTIVITIES: &[&str] = &[
    "Conversa foi marcada como resolvida por Ana Souza",
    "Conversa foi reaberta por Bruno Lima",
    "Atribuído a Carla Dias por Diego Alves",
    "Ana Souza adicionou vip, suporte",
    "Conversa foi adiada por Bruno Lima",
];

pub const GREETINGS: &[&str] = &[
    "Olá! Sou o assistente virtual. Como posso ajudar?",
    "Recebemos a sua mensagem e responderemos em breve.",
    "Você é o próximo da fila.",
];

pub const RESOLVED_BY: &str = "Conversa foi marcada como resolvida por Ana Souza";

/// Chatwoot's own text, in the language of the installation.
pub const DELETED: &str = "This message was deleted";

pub const SURVEY: &str = "Por favor, avalie esta conversa";

pub const FEEDBACK: &[Option<&str>] = &[
    None,
    None,
    Some(""),
    Some("Ótimo!"),
    Some("Demorou demais."),
    Some("👏👏"),
    Some("Atendimento muito atencioso, resolveu tudo na primeira conversa."),
    Some("ممتاز"),
    Some(
        "O problema voltou no dia seguinte e tive que explicar tudo de novo para outra pessoa, mas no fim deu certo.",
    ),
];

pub const FIRST_NAMES: &[&str] = &[
    "Maria",
    "João",
    "Ana",
    "Antônio",
    "Francisca",
    "Carlos",
    "Luíza",
    "Paulo",
    "Renata",
    "Sebastião",
    "Thaís",
    "Joaquim",
    "Beatriz",
    "Otávio",
    "Fernanda",
    "Iracema",
    "Emily",
    "Óscar",
    "نور",
    "伟",
];

pub const LAST_NAMES: &[&str] = &[
    "Silva",
    "Souza",
    "Oliveira",
    "Conceição",
    "Gonçalves",
    "Araújo",
    "D'Ávila",
    "Nakamura",
    "Schmitt",
    "Muñoz",
    "O'Neill",
    "Lima",
    "العلي",
    "王",
];

/// Unusual names: empty, with emoji, right to left.
pub const ODD_NAMES: &[&str] = &[
    "",
    " ",
    "🌻 Flor 🌻",
    "محمد \u{202b}بن علي\u{202c}",
    "Tab\tAspas\"Barra\\",
    "null",
    "Linha\nDupla",
    "Z\u{351}\u{36b}a\u{343}lgo",
];

pub const BUSINESSES: &[&str] = &[
    "Clínica",
    "Padaria",
    "Loja",
    "Escola",
    "Oficina",
    "Farmácia",
    "Imobiliária",
    "Academia",
    "Editora",
    "Pousada",
    "Livraria",
];

/// The number of names and the number of businesses have no common divisor, so that combinations repeat late.
pub const BUSINESS_NAMES: &[&str] = &[
    "Aurora",
    "São Bento",
    "Ipê",
    "Horizonte",
    "Três Irmãos",
    "Central",
    "Maré Alta",
    "Girassol",
    "Nova Era",
    "Boa Vista",
    "Sol & Lua",
    "Cajuína",
    "Pôr do Sol",
];

pub const TEAMS: &[&str] = &["suporte", "vendas", "financeiro", "pós-venda"];

pub const CHANNELS: &[&str] = &[
    "Channel::Whatsapp",
    "Channel::WebWidget",
    "Channel::Email",
    "Channel::Api",
    "Channel::Instagram",
    "Channel::Telegram",
    "Channel::FacebookPage",
];

/// With half-hour offsets, with daylight saving in both hemispheres, and without.
pub const TIMEZONES: &[&str] = &[
    "America/Sao_Paulo",
    "America/Sao_Paulo",
    "America/Manaus",
    "Europe/Lisbon",
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "America/St_Johns",
    "Asia/Shanghai",
    "Pacific/Auckland",
];

pub const LABELS: &[Option<&str>] = &[
    None,
    None,
    None,
    None,
    Some(""),
    Some("vip"),
    Some("vip, suporte"),
    Some("venda"),
    Some(" venda ,,  urgente "),
    Some(","),
    Some("cobrança,2ª via,boleto"),
    Some("متابعة, 售后, 🎯"),
];

pub const CONVERSATION_ATTRIBUTES: &[&str] = &[
    "{}",
    "{}",
    "{}",
    r#"{"plano":"ouro","nps":9}"#,
    r#"{"origem":"anúncio","utm":{"source":"instagram","campaign":null},"itens":[1,2.50,"três"]}"#,
    r#"{"observação":"cliente antigo 🧡","desde":"2019-03-01","ativo":true}"#,
];

pub const SENTIMENTS: &[&str] = &[
    r#"{"label":"positive","score":0.93}"#,
    r#"{"label":"negative","score":0.71}"#,
    r#"{"label":"neutral","score":0.50}"#,
];

/// What Chatwoot and its channels write into `conversations.additional_attributes`.
pub const CONVERSATION_DETAILS: &[Option<&str>] = &[
    Some(r#"{"browser_language":"pt"}"#),
    Some("{}"),
    Some(
        r#"{"browser":{"browser_name":"Chrome","platform_name":"Android"},"referer":"https://loja.example.com/planos?utm=anúncio","initiated_at":{"timestamp":"Tue Jun 10 2025 09:12:44 GMT-0300"}}"#,
    ),
    Some(r#"{"mail_subject":"Re: Segunda via do boleto 🧾","source":"email","in_reply_to":null}"#),
    None,
];

/// What users keep in `contacts.custom_attributes`.
pub const CONTACT_ATTRIBUTES: &[Option<&str>] = &[
    Some("{}"),
    Some(r#"{"cpf":"123.456.789-09","plano":"ouro"}"#),
    None,
    Some(r#"{"aniversário":"1988-02-29","filhos":[1,2.50],"vip":true}"#),
    Some("{}"),
    Some("{}"),
    Some("{}"),
];

/// What Chatwoot keeps in `contacts.additional_attributes`.
pub const CONTACT_DETAILS: &[Option<&str>] = &[
    Some("{}"),
    Some(r#"{"city":"São Paulo","country":"Brasil","country_code":"BR"}"#),
    Some(r#"{"company_name":"Padaria & Cia","social_profiles":{"instagram":"padaria"}}"#),
    None,
    Some("{}"),
];

pub const COUNTRIES: &[Option<&str>] = &[
    Some("BR"),
    Some(""),
    Some("BR"),
    None,
    Some("PT"),
    Some("US"),
    Some("BR"),
    Some("IN"),
    Some("BRA"),
    Some(""),
    Some("br"),
];

pub const CAMPAIGNS: &[&str] = &["Boas-vindas", "Black Friday 🖤", "Renovação do plano", "Pesquisa"];

/// Names of SLA policies, and the minutes until the first reply.
pub const SLAS: &[(&str, i32)] = &[("Padrão", 30), ("Ouro 🥇", 5), ("Fim de semana", 240)];
