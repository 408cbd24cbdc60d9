//! Sign-in with passwords, by a proxy, and not at all.

use anyhow::ensure;
use sqlx::Executor;

use super::client::{Client, add_user, serve};
use crate::stage::on_stage;

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn a_user_signs_in_works_and_signs_out() {
    on_stage(|stage| async move {
        add_user(&stage, "ana", PASSWORD, &["--role", "admin"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);

        let sent_away = stranger.get("/runs?status=failed").await?;
        let to = sent_away.header("location").unwrap_or_default();
        ensure!(
            sent_away.status == 303 && to == "/login?to=%2Fruns%3Fstatus%3Dfailed",
            "{sent_away:?}"
        );
        for (user, password) in [("ana", "wrong password"), ("nobody", PASSWORD), ("ana", "")] {
            let answer = stranger
                .post("/login", &format!("user={user}&password={password}"))
                .await?;
            ensure!(
                answer.status == 401 && answer.header("set-cookie").is_none(),
                "{answer:?}"
            );
        }
        let answer = stranger
            .post(
                "/login",
                "user=ana&password=correct+horse+battery&to=%2F%2Fevil.example",
            )
            .await?;
        ensure!(answer.header("location") == Some("/"), "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap_or_default();
        for part in ["__Host-tidemark=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"] {
            ensure!(cookie.contains(part), "{cookie}");
        }

        let ana = stranger.sign_in("ana", PASSWORD).await?;
        let other = stranger.sign_in("ana", PASSWORD).await?;
        ensure!(ana.cookie != other.cookie, "each sign-in has a new id");
        ensure!(ana.get("/").await?.status == 200, "signed in");
        let stored: Vec<String> = sqlx::query_scalar("SELECT encode(id_hash, 'escape') FROM console_session")
            .fetch_all(&stage.target)
            .await?;
        let id = ana
            .cookie
            .as_deref()
            .and_then(|cookie| cookie.split_once('='))
            .expect("a cookie")
            .1
            .to_owned();
        ensure!(
            !stored.is_empty() && !stored.contains(&id),
            "the id itself is not stored"
        );
        ensure!(ana.post("/logout", "").await?.status == 303, "signed out");
        ensure!(ana.get("/").await?.status == 303, "the session has ended");
        ensure!(other.get("/").await?.status == 200, "the other session has not");

        sqlx::query("UPDATE console_session SET last_seen_at = now() - interval '13 hours'")
            .execute(&stage.target)
            .await?;
        ensure!(
            other.get("/").await?.status == 303,
            "12 hours without a request end a session"
        );
        let third = stranger.sign_in("ana", PASSWORD).await?;
        sqlx::query("UPDATE console_session SET created_at = now() - interval '8 days'")
            .execute(&stage.target)
            .await?;
        ensure!(third.get("/").await?.status == 303, "7 days end a session");

        let fourth = stranger.sign_in("ana", PASSWORD).await?;
        let changed = stage
            .tidemark_with_input(
                &["console", "user", "passwd", "ana", "--password-file", "-"],
                "another long password",
            )
            .await?;
        ensure!(changed.code == 0, "{changed:?}");
        ensure!(
            fourth.get("/").await?.status == 303,
            "a new password ends the sessions"
        );
        ensure!(
            stranger.sign_in("ana", PASSWORD).await.is_err(),
            "the old password is dead"
        );
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_form_that_is_sent_after_the_session_has_ended_is_not_lost() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        add_user(&stage, "ana", PASSWORD, &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let ana = stranger.sign_in("ana", PASSWORD).await?;
        stage.target.execute("DELETE FROM console_session").await?;
        let asked = ana.post("/tenants/1/do/pause", "reason=for+a+%3Cmove%3E").await?;
        let kept = [r#"name="action" value="/tenants/1/do/pause""#, r#"name="fields" value="reason=for+a+%3Cmove%3E""#];
        ensure!(asked.status == 401 && kept.iter().all(|field| asked.body.contains(field)), "{asked:?}");
        let form = "user=ana&password=correct+horse+battery&action=%2Ftenants%2F1%2Fdo%2Fpause&fields=reason%3Dfor%2Ba%2B%253Cmove%253E";
        let signed_in = stranger.post("/login", form).await?;
        let fields = [r#"action="/tenants/1/do/pause""#, r#"name="reason" value="for a &lt;move&gt;""#];
        ensure!(signed_in.status == 200 && fields.iter().all(|field| signed_in.body.contains(field)), "{signed_in:?}");
        ensure!(signed_in.header("set-cookie").is_some(), "{signed_in:?}");
        let paused: Option<String> = sqlx::query_scalar("SELECT pause_reason FROM tenants").fetch_one(&stage.target).await?;
        ensure!(paused.is_none(), "nothing is done before the click: {paused:?}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down_and_nothing_secret_is_shown() {
    on_stage(|stage| async move {
        add_user(&stage, "ana", PASSWORD, &[]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let mut statuses = Vec::new();
        for _ in 0..7 {
            let answer = stranger
                .post("/login", "user=ana&password=guessed-s3cret-guess")
                .await?;
            ensure!(!answer.body.contains("s3cret"), "{answer:?}");
            statuses.push(answer.status);
        }
        ensure!(statuses[..6] == [401; 6] && statuses[6] == 429, "{statuses:?}");
        let right = stranger
            .post("/login", "user=ana&password=correct+horse+battery")
            .await?;
        ensure!(
            right.status == 429 && right.header("retry-after").is_some(),
            "{right:?}"
        );
        let listed = stage.tidemark(&["console", "user", "list", "--json"]).await?;
        ensure!(!listed.stdout.contains("argon2"), "{listed:?}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_proxys_header_counts_only_from_the_proxy() {
    on_stage(|stage| async move {
        let added = stage
            .tidemark(&[
                "console",
                "user",
                "add",
                "ana@example.com",
                "--role",
                "operator",
                "--no-password",
            ])
            .await?;
        ensure!(added.code == 0, "{added:?}");
        let proxied = |peers| {
            [
                ("TIDEMARK_CONSOLE_AUTH", "proxy"),
                ("TIDEMARK_CONSOLE_PROXY_PEERS", peers),
            ]
        };
        let ana = [("X-Forwarded-User", "ana@example.com")];

        let served = serve(&stage, "console", &proxied("10.0.0.0/8")).await?;
        let outside = Client::new(&served.address).send("GET", "/", &ana, "").await?;
        ensure!(outside.status == 401, "{outside:?}");
        served.process.stop().await?;

        let served = serve(&stage, "console", &proxied("127.0.0.0/8, ::1")).await?;
        let client = Client::new(&served.address);
        ensure!(
            client.send("GET", "/", &ana, "").await?.status == 200,
            "the proxy names ana"
        );
        ensure!(client.get("/").await?.status == 401, "the proxy names nobody");
        let two = [ana[0], ("X-Forwarded-User", "root")];
        ensure!(
            client.send("GET", "/", &two, "").await?.status == 401,
            "the proxy names two"
        );
        let unknown = client
            .send("GET", "/", &[("X-Forwarded-User", "eve")], "")
            .await?;
        ensure!(
            unknown.status == 403 && unknown.body.contains("console user add"),
            "{unknown:?}"
        );
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_console_that_would_be_open_to_others_does_not_start() {
    on_stage(|stage| async move {
        for (settings, named) in [
            (vec![("TIDEMARK_CONSOLE_LISTEN", "0.0.0.0:0")], "console.auth"),
            (
                vec![
                    ("TIDEMARK_CONSOLE_AUTH", "proxy"),
                    ("TIDEMARK_CONSOLE_LISTEN", "127.0.0.1:0"),
                ],
                "proxy_peers",
            ),
            (vec![("TIDEMARK_CONSOLE_LISTEN", "off")], "console.listen"),
        ] {
            let refused = stage.tidemark_with(&["console"], &settings).await?;
            ensure!(
                refused.code == 78 && refused.stderr.contains(named),
                "{refused:?}"
            );
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn below_a_prefix_every_link_stays_there() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(
            &stage,
            "console",
            &[("TIDEMARK_CONSOLE_PATH_PREFIX", "/ops/tidemark")],
        )
        .await?;
        let client = Client::new(&served.address);
        // a proxy may keep the prefix or strip it
        for path in [
            "/ops/tidemark/tenants/1",
            "/tenants/1",
            "/ops/tidemark/",
            "/ops/tidemark",
            "/",
        ] {
            let page = client.get(path).await?;
            ensure!(page.status == 200, "{path}: {page:?}");
            for attribute in ["href=\"/", "action=\"/", "src=\"/", "connect=\"/"] {
                let outside: Vec<&str> = page
                    .body
                    .split(attribute)
                    .skip(1)
                    .filter(|rest| !rest.starts_with("ops/tidemark/"))
                    .map(|rest| rest.split('"').next().unwrap_or_default())
                    .collect();
                ensure!(outside.is_empty(), "{path}: {attribute}{outside:?}");
            }
        }
        served.process.stop().await
    })
    .await;
}
