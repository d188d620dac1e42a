//! Settings: flags, and environment variables of the same names. `--help` is their reference.

use clap::{Args, builder::NonEmptyStringValueParser};
use dispatcher::AllowedPrivate;
use secrecy::SecretString;

/// What every command may need to know.
///
/// Whatever may hold a password is a secret: it is in no log, no error, and not in `--help`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Postgres, as postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    pub(crate) database_url: Option<SecretString>,

    /// Redis, as redis://HOST:PORT/DB or redis+unix:///PATH
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true, global = true)]
    pub(crate) redis_url: Option<SecretString>,

    /// The Postgres of an app that has an outbox, as postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "LATCHHOOK_OUTBOX_URL", value_name = "URL", hide_env_values = true, global = true)]
    pub(crate) outbox_url: Option<SecretString>,

    /// What the names of all keys in Redis begin with
    #[arg(long, env = "LATCHHOOK_PREFIX", value_name = "NAME", default_value = "latchhook", global = true,
          value_parser = NonEmptyStringValueParser::new())]
    pub(crate) prefix: String,

    /// Seals secrets at rest: 32 bytes in base64; several with commas, of which the first seals
    #[arg(long, env = "LATCHHOOK_MASTER_KEY", value_name = "KEY", hide_env_values = true, global = true)]
    pub(crate) master_key: Option<SecretString>,

    /// Private networks that endpoints may be in, as CIDRs with commas (127.0.0.0/8)
    #[arg(long, env = "LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS", value_name = "CIDRS", global = true)]
    pub(crate) allow_private_endpoints: Option<AllowedPrivate>,

    /// What is logged to stderr: error, warn, info, debug, or per module (worker=debug,info)
    #[arg(long, env = "LATCHHOOK_LOG", value_name = "FILTER", default_value = "warn", global = true)]
    pub(crate) log: String,
}
