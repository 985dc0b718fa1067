/* The table. A row here is a command, its help, its reference entry and its completion. */
#include "controlplane/ctl/nouns.h"

const struct flag global_flags[] = {
    {"server", 's', FLAG_TEXT, "URL", "STEELYARD_SERVER", NULL,
     "Admin API; without it a context or the server of this machine is used."},
    {"context", 0, FLAG_TEXT, "NAME", "STEELYARD_CONTEXT", NULL,
     "Entry of ~/.config/steelyard/config.yaml."},
    {"state-dir", 0, FLAG_TEXT, "DIR", "STEELYARD_STATE_DIR", NULL,
     "State directory of `steelyard serve`, for finding the server of this machine."},
    {"output", 'o', FLAG_TEXT, "FORMAT", NULL, "table",
     "table, wide, json, jsonl, yaml, csv or name."},
    {"quiet", 'q', FLAG_BOOL, NULL, NULL, NULL, "Say nothing but data and errors."},
    {"no-color", 0, FLAG_BOOL, NULL, NULL, NULL, "No colour; NO_COLOR does the same."},
    {"timeout", 0, FLAG_DURATION, "D", NULL, "30s", "How long to wait for an answer."},
    {"help", 'h', FLAG_BOOL, NULL, NULL, NULL, "What the command does and takes."},
    {.name = NULL},
};

#define LIMIT_FLAG(n)                                                                              \
    {                                                                                              \
        "limit", 0, FLAG_U64, "N", NULL, n, "At most so many; 0 for all."                          \
    }
#define REASON_FLAG                                                                                \
    {                                                                                              \
        "reason", 0, FLAG_TEXT, "TEXT", NULL, NULL, "Why; kept in the audit trail."                \
    }

static const struct flag list_flags[] = {LIMIT_FLAG("0"), {.name = NULL}};
static const struct flag status_flags[] = {
    {"wait", 0, FLAG_DURATION, "D", NULL, NULL,
     "Wait until a node is connected and up to date, at most this long."},
    {.name = NULL},
};
static const struct flag doctor_flags[] = {
    {"in-cluster", 0, FLAG_BOOL, NULL, NULL, NULL,
     "Look for nothing on this machine: --server and --node say where all is."},
    {"node", 0, FLAG_TEXT, "URL", "STEELYARD_NODE", NULL,
     "A node's API; without it that of `steelyard serve` on this machine."},
    {"model", 0, FLAG_TEXT, "NAME", NULL, NULL,
     "Model or route to ask for an answer, whole and as a stream; none is asked without it."},
    {.name = NULL},
};
static const struct flag report_flags[] = {
    {"since", 0, FLAG_TEXT, "TIME", NULL, "7d", "From then on: 24h, 7d or an RFC 3339 time."},
    {.name = NULL},
};
#define CHANGE_FLAGS                                                                               \
    REASON_FLAG,                                                                                   \
    {                                                                                              \
        "dry-run", 0, FLAG_BOOL, NULL, NULL, NULL, "Say what would be, and change nothing."        \
    }
#define NODES_TAKE_FLAG                                                                            \
    {                                                                                              \
        "wait", 0, FLAG_DURATION, "D", NULL, "5s",                                                 \
            "How long to wait until all nodes know it. 0s: not at all."                            \
    }
#define NODES_REFUSE_FLAG                                                                          \
    {                                                                                              \
        "wait", 0, FLAG_DURATION, "D", NULL, "2s",                                                 \
            "How long to wait until all nodes refuse it; fewer is exit 10. 0s: not at all."        \
    }
#define YES_FLAG                                                                                   \
    {                                                                                              \
        "yes", 'y', FLAG_BOOL, NULL, NULL, NULL, "Do not ask."                                     \
    }

static const struct flag spend_flags[] = {
    {"by", 0, FLAG_TEXT, "WHAT", NULL, "day",
     "account, key, team, org, user, tag, model, policy, source or day."},
    {"since", 0, FLAG_TEXT, "TIME", NULL, "30d", "From that day on: 24h, 7d or an RFC 3339 time."},
    {"until", 0, FLAG_TEXT, "TIME", NULL, NULL, "Up to that day."},
    {"account", 0, FLAG_TEXT, "A", NULL, NULL, "Only of this account, such as team:web."},
    {"key", 0, FLAG_TEXT, "ID", NULL, NULL, "Only of this key."},
    {"team", 0, FLAG_TEXT, "NAME", NULL, NULL, "Only of this team."},
    {"model", 0, FLAG_TEXT, "ID", NULL, NULL, "Only of this model."},
    {"policy", 0, FLAG_TEXT, "NAME@V", NULL, NULL, "Only of this version of a policy."},
    LIMIT_FLAG("50"),
    {.name = NULL},
};
static const struct flag reconcile_flags[] = {
    {"since", 0, FLAG_TEXT, "TIME", NULL, "2d",
     "Periods that ended before, and days before, are left out."},
    REASON_FLAG,
    {.name = NULL},
};

static const struct flag key_list_flags[] = {
    LIMIT_FLAG("0"),
    {"team", 0, FLAG_TEXT, "NAME", NULL, NULL, "Only of this team."},
    {"deleted", 0, FLAG_BOOL, NULL, NULL, NULL, "Also those that were deleted."},
    {.name = NULL},
};
#define TEXT_FLAG(name, what, help)                                                                \
    {                                                                                              \
        name, 0, FLAG_TEXT, what, NULL, NULL, help                                                 \
    }
#define KEY_FLAGS                                                                                  \
    TEXT_FLAG("routes", "A,B", "Routes it may use; all without this."),                            \
        TEXT_FLAG("models", "A,B", "Models it may use; all without this."),                        \
        TEXT_FLAG("endpoints", "A,B",                                                              \
                  "Endpoints it may use, such as chat.completions; all without this."),            \
        TEXT_FLAG("team", "NAME", "Team it belongs to."),                                          \
        TEXT_FLAG("org", "NAME", "Organisation, for a key without a team."),                       \
        TEXT_FLAG("user", "NAME", "End user it belongs to."),                                      \
        TEXT_FLAG("tags", "A,B", "Tags whose budgets its requests are charged to as well."),       \
        TEXT_FLAG("rpm", "N", "Requests a minute."), TEXT_FLAG("tpm", "N", "Tokens a minute."),    \
        TEXT_FLAG("concurrency", "N", "Requests at a time."),                                      \
        TEXT_FLAG("max-cost-usd", "USD", "Most that one request may cost."),                       \
        TEXT_FLAG("budget", "USD/PERIOD",                                                          \
                  "What it may spend: 5.00/month, or several: 1/day,20/month."),                   \
        TEXT_FLAG("expires", "TIME",                                                               \
                  "RFC 3339 time or an age like 90d after which it is refused.")
#define REQUIRE_FLAGS                                                                              \
    TEXT_FLAG("require-region", "A,B",                                                             \
              "Only deployments in one of these regions serve it; eu admits eu-west-1."),          \
        TEXT_FLAG("data-collection", "WORD",                                                       \
                  "deny: only deployments that state that they do not learn from it."),            \
    {                                                                                              \
        "zdr", 0, FLAG_BOOL, NULL, NULL, NULL,                                                     \
            "Only deployments that state that they keep nothing."                                  \
    }
static const struct flag key_flags[] = {
    {"name", 0, FLAG_TEXT, "NAME", NULL, "key", "What people call it."},
    KEY_FLAGS,
    {"role", 0, FLAG_TEXT, "ROLE", NULL, NULL,
     "A credential of the admin API instead: viewer, operator or admin."},
    {"no-explore", 0, FLAG_BOOL, NULL, NULL, NULL,
     "Never try another model than the best for its requests."},
    {"may-no-log", 0, FLAG_BOOL, NULL, NULL, NULL,
     "Its requests may ask not to be recorded with text."},
    REQUIRE_FLAGS,
    NODES_TAKE_FLAG,
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag key_update_flags[] = {
    {"name", 0, FLAG_TEXT, "NAME", NULL, NULL, "What people call it."},
    KEY_FLAGS,
    REQUIRE_FLAGS,
    NODES_TAKE_FLAG,
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag key_rotate_flags[] = {
    {"overlap", 0, FLAG_TEXT, "D", NULL, "1h",
     "How long the old secret still works; 0s: not at all."},
    NODES_TAKE_FLAG,
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag key_expire_flags[] = {
    NODES_REFUSE_FLAG,
    {"at", 0, FLAG_TEXT, "TIME", NULL, NULL,
     "When; now without this. Only ever earlier than before."},
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag plain_change_flags[] = {CHANGE_FLAGS, {.name = NULL}};
static const struct flag key_disable_flags[] = {NODES_REFUSE_FLAG, CHANGE_FLAGS, {.name = NULL}};
static const struct flag key_enable_flags[] = {NODES_TAKE_FLAG, CHANGE_FLAGS, {.name = NULL}};
static const struct flag key_delete_flags[] = {
    NODES_REFUSE_FLAG, CHANGE_FLAGS, YES_FLAG, {.name = NULL}};
static const struct flag delete_flags[] = {
    NODES_TAKE_FLAG, CHANGE_FLAGS, YES_FLAG, {.name = NULL}};
#define RATE_FLAGS                                                                                 \
    TEXT_FLAG("rpm", "N", "Requests a minute, all keys together; none: no limit."),                \
        TEXT_FLAG("tpm", "N", "Tokens a minute; none: no limit."),                                 \
        TEXT_FLAG("concurrency", "N", "Requests at a time; none: no limit."),                      \
        TEXT_FLAG("disabled", "true|false", "true: all its keys are refused.")
static const struct flag team_flags[] = {
    {"org", 0, FLAG_TEXT, "NAME", NULL, NULL, "Organisation it belongs to; none: no one."},
    RATE_FLAGS,
    NODES_TAKE_FLAG,
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag org_flags[] = {RATE_FLAGS, NODES_TAKE_FLAG, CHANGE_FLAGS, {.name = NULL}};
static const struct flag budget_list_flags[] = {
    LIMIT_FLAG("0"),
    {"account", 0, FLAG_TEXT, "KIND:NAME", NULL, NULL, "Only of this account."},
    {"removed", 0, FLAG_BOOL, NULL, NULL, NULL, "Also those that were removed."},
    {.name = NULL},
};
static const struct flag budget_flags[] = {
    {"account", 0, FLAG_TEXT, "KIND:NAME", NULL, NULL,
     "team:web, org:acme, key:ID, user:u1, tag:batch or model:NAME."},
    {"limit-usd", 0, FLAG_TEXT, "USD", NULL, NULL,
     "What may be spent in a period, like 100 or 5.00."},
    {"period", 0, FLAG_TEXT, "PERIOD", NULL, NULL, "day, week, month or total."},
    {"tz", 0, FLAG_TEXT, "ZONE", NULL, NULL,
     "Time zone of the days, like Europe/Berlin. UTC without this."},
    {"anchor", 0, FLAG_TEXT, "TIME", NULL, NULL,
     "A moment at which a period begins; none: midnight, Monday, the 1st."},
    {"mode", 0, FLAG_TEXT, "MODE", NULL, NULL,
     "strict: never exceeded. soft: an outage may exceed it a little."},
    {"warn-percent", 0, FLAG_TEXT, "N", NULL, NULL,
     "Share at which a warning is given; 80 without this."},
    {"carry", 0, FLAG_TEXT, "HOW", NULL, NULL,
     "none, or debt: what was overspent counts in the next period."},
    {"offline-usd", 0, FLAG_TEXT, "USD", NULL, NULL,
     "What a node may spend while the control plane is away."},
    {"webhook", 0, FLAG_TEXT, "URL", NULL, NULL,
     "Told once in a period when the warning is reached; none: nobody."},
    NODES_TAKE_FLAG,
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag calibrate_flags[] = {
    {"strong-model-pct", 0, FLAG_TEXT, "PCT", NULL, "50",
     "Percent of the decisions that shall go to the strongest model."},
    {"policy", 0, FLAG_TEXT, "NAME[@VERSION]", NULL, NULL, "The same as the argument."},
    {"last", 0, FLAG_U64, "N", NULL, "10000", "Decisions to look at, the latest ones."},
    {.name = NULL},
};
static const struct flag explain_flags[] = {
    {"last", 0, FLAG_U64, "N", NULL, "10000", "Decisions to look at, the latest ones."},
    {"against", 0, FLAG_U64, "V", NULL, NULL,
     "Compare with this version instead of with what was recorded."},
    {.name = NULL},
};
static const struct flag train_flags[] = {
    {"quality", 0, FLAG_TEXT, "Q", NULL, NULL, "Target: this share of the best model's quality."},
    {"quality-floor", 0, FLAG_TEXT, "Q", NULL, NULL, "Target: this mean quality."},
    {"spend-usd-per-day", 0, FLAG_TEXT, "USD", NULL, NULL, "Target: the best for this money."},
    {"mode", 0, FLAG_TEXT, "MODE", NULL, "observed",
     "observed: labels of the models that served; full: of every model."},
    {"since", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only decisions from then on."},
    {"until", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only decisions before that."},
    {"promote", 0, FLAG_BOOL, NULL, NULL, NULL, "Put it in force when it passes its gates."},
    {"no-wait", 0, FLAG_BOOL, NULL, NULL, NULL, "Print the job and return."},
    {"data", 0, FLAG_TEXT, "FILE", NULL, NULL,
     "Train here, without a server, on this .jsonl or .jsonl.gz."},
    {"meta", 0, FLAG_TEXT, "FILE", NULL, NULL, "With --data: models and prices, JSON."},
    {"target", 0, FLAG_TEXT, "TARGET", NULL, NULL,
     "With --data: quality=0.95 (the default), quality_floor=0.85, save=60%, spend=0.002."},
    {"out", 0, FLAG_TEXT, "FILE", NULL, NULL, "With --data: the policy file to write."},
    {"report", 0, FLAG_TEXT, "FILE", NULL, NULL, "With --data: also write the report, JSON."},
    {"incumbent", 0, FLAG_TEXT, "FILE", NULL, NULL, "With --data: policy file to compare with."},
    {"hash-key", 0, FLAG_TEXT, "FILE", NULL, NULL,
     "With --data: root key of the deployment; without it the key is all zero bytes."},
    {.name = NULL},
};
static const struct flag route_flags[] = {
    {"artifact", 0, FLAG_TEXT, "FILE", NULL, NULL, "Policy file."},
    {"queries", 0, FLAG_TEXT, "FILE", NULL, NULL, "One JSON object with \"query\" a line."},
    {"out", 0, FLAG_TEXT, "FILE", NULL, NULL, "Where the choices go; standard output otherwise."},
    {"lambda", 0, FLAG_TEXT, "L", NULL, NULL, "Quality per USD, instead of the policy's own."},
    {"hash-key", 0, FLAG_TEXT, "FILE", NULL, NULL, "Root key the policy was trained with."},
    {.name = NULL},
};
static const struct flag change_flags[] = {REASON_FLAG, {.name = NULL}};
static const struct flag rollout_flags[] = {
    {"stages", 0, FLAG_TEXT, "P,P,..", NULL, "1,5,25,50,100",
     "The candidate's shares in percent, rising; the last is 100."},
    {"dwell", 0, FLAG_TEXT, "D,D,..", NULL, NULL,
     "With --stages: how long each lasts at least; the last one holds for the rest."},
    {"shadow", 0, FLAG_TEXT, "D", NULL, "10m", "How long it decides in the shadow at least."},
    {"shadow-requests", 0, FLAG_TEXT, "N", NULL, "1000", "Decisions in the shadow, at least."},
    {"inconclusive", 0, FLAG_TEXT, "HOW", NULL, "hold",
     "When the longest dwell ends without evidence: hold, promote_if_harmless or rollback."},
    {"saving", 0, FLAG_TEXT, "SHARE", NULL, NULL,
     "It is meant to be cheaper: at least this must be shown, such as 0.1."},
    {"bucket", 0, FLAG_TEXT, "D", NULL, "10s", "How often the guards are looked at."},
    {"plan", 0, FLAG_TEXT, "FILE", NULL, NULL,
     "JSON with everything the API takes; the flags above it win."},
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag revert_flags[] = {
    {"plan", 0, FLAG_TEXT, "FILE", NULL, NULL,
     "JSON with everything the API takes, such as stages; without it straight to everyone."},
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag canary_flags[] = {
    {"percent", 0, FLAG_TEXT, "P", NULL, NULL, "Of set: up to the stage of this share."},
    REASON_FLAG,
    {.name = NULL},
};
static const struct flag override_flags[] = {
    {"expires", 0, FLAG_TEXT, "TIME", NULL, NULL, "When it ends by itself, such as 4h."},
    {"end", 0, FLAG_BOOL, NULL, NULL, NULL, "End it now."},
    CHANGE_FLAGS,
    {.name = NULL},
};
static const struct flag history_flags[] = {LIMIT_FLAG("100"), {.name = NULL}};
static const struct flag decision_flags[] = {
    LIMIT_FLAG("20"),
    {"since", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only from then on."},
    {"until", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only before that."},
    {"key", 0, FLAG_TEXT, "ID", NULL, NULL, "Only of this key."},
    {"route", 0, FLAG_TEXT, "NAME", NULL, NULL, "Only of this route."},
    {"model", 0, FLAG_TEXT, "ID", NULL, NULL, "Only served by this model."},
    {"status", 0, FLAG_TEXT, "STATUS", NULL, NULL, "Only with this outcome, e.g. ok or failed."},
    {.name = NULL},
};
static const struct flag replay_flags[] = {
    {"all", 0, FLAG_BOOL, NULL, NULL, NULL, "Every decision there is."},
    {"since", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only from then on."},
    LIMIT_FLAG("10000"),
    {.name = NULL},
};
#define RANGE_FLAGS                                                                                \
    {"since", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only from then on."},                             \
    {                                                                                              \
        "until", 0, FLAG_TEXT, "TIME", NULL, NULL, "Only before that."                             \
    }
#define CURSOR_FLAG                                                                                \
    {                                                                                              \
        "cursor", 0, FLAG_TEXT, "C", NULL, NULL, "Go on where an export ended; it says so itself." \
    }
static const struct flag export_flags[] = {
    RANGE_FLAGS, CURSOR_FLAG, LIMIT_FLAG("0"), {.name = NULL}};
static const struct flag audit_list_flags[] = {RANGE_FLAGS, LIMIT_FLAG("100"), {.name = NULL}};
static const struct flag audit_key_flags[] = {
    {"hour", 0, FLAG_TEXT, "TIME", NULL, NULL, "The hour in which that time lies, in UTC."},
    RANGE_FLAGS,
    LIMIT_FLAG("0"),
    {.name = NULL},
};
static const struct flag audit_rollout_flags[] = {
    {"stage", 0, FLAG_TEXT, "N", NULL, NULL,
     "Only who moved it to that stage, with the evidence; 0 is the first."},
    {.name = NULL},
};
#define LOG_FILTER_FLAGS                                                                           \
    {"actor", 0, FLAG_TEXT, "WHO", NULL, NULL, "Only of this one: operator, config, key:ID."},     \
        {"action", 0, FLAG_TEXT, "WHAT", NULL, NULL, "Only such changes: key, or key.update."},    \
    {                                                                                              \
        "subject", 0, FLAG_TEXT, "S", NULL, NULL, "Only about this: a key's id, a policy's name."  \
    }
static const struct flag audit_log_flags[] = {
    LOG_FILTER_FLAGS, RANGE_FLAGS, LIMIT_FLAG("50"), {.name = NULL}};
static const struct flag audit_export_flags[] = {
    LOG_FILTER_FLAGS, RANGE_FLAGS, CURSOR_FLAG, LIMIT_FLAG("0"), {.name = NULL}};
static const struct flag serve_flags[] = {
    {"config", 'c', FLAG_TEXT, "FILE", "STEELYARD_CONFIG", "/etc/steelyard/steelyard.yaml",
     "The configuration; SIGHUP reads it again."},
    {"listen", 0, FLAG_TEXT, "ADDR", "STEELYARD_LISTEN", NULL,
     "The API for callers; without it server.listen of the configuration, or 127.0.0.1:8080."},
    {"admin-listen", 0, FLAG_TEXT, "ADDR", "STEELYARD_ADMIN_LISTEN", "127.0.0.1:8090",
     "The admin API."},
    {"sync-listen", 0, FLAG_TEXT, "ADDR", "STEELYARD_SYNC_LISTEN", "127.0.0.1:8091",
     "Where nodes connect; loopback only, it has no TLS."},
    {"metrics-listen", 0, FLAG_TEXT, "ADDR", "STEELYARD_METRICS_LISTEN", "127.0.0.1:9464",
     "Metrics and probes of the data plane."},
    {"control-metrics-listen", 0, FLAG_TEXT, "ADDR", "STEELYARD_CONTROL_METRICS_LISTEN",
     "127.0.0.1:9465", "Metrics and probes of the control plane."},
    {"workers", 0, FLAG_U64, "N", "STEELYARD_WORKERS", "0", "Data plane threads; 0: one per core."},
    {"drain-delay", 0, FLAG_DURATION, "D", "STEELYARD_DRAIN_DELAY", "0s",
     "How long a stopping node still accepts."},
    {"log-level", 0, FLAG_TEXT, "LEVEL", "STEELYARD_LOG_LEVEL", "info",
     "debug, info, warn or error."},
    {.name = NULL},
};

#define FORMAT_FLAG                                                                                \
    {                                                                                              \
        "format", 0, FLAG_TEXT, "FORMAT", NULL, NULL, "auto, models.dev, litellm or csv."          \
    }
#define IMPORT_FLAGS                                                                               \
    FORMAT_FLAG,                                                                                   \
        {"source",                                                                                 \
         0,                                                                                        \
         FLAG_TEXT,                                                                                \
         "NAME",                                                                                   \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "Where the file is from, for the record; the format's name without this."},               \
        {"source-date",                                                                            \
         0,                                                                                        \
         FLAG_TEXT,                                                                                \
         "DAY",                                                                                    \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "As of which day its facts hold; today without this."},                                   \
        {"valid-from",                                                                             \
         0,                                                                                        \
         FLAG_TEXT,                                                                                \
         "TIME",                                                                                   \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "From when on the prices hold: now, or a time or day, also a past one."},                 \
        {"max-factor",                                                                             \
         0,                                                                                        \
         FLAG_U64,                                                                                 \
         "N",                                                                                      \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "Changes by this factor and more, up or down, are held back; 3 without this."},           \
        {"accept-large", 0, FLAG_BOOL, NULL, NULL, NULL, "Take these too."},                       \
    {                                                                                              \
        "provider", 0, FLAG_TEXT, "NAME", NULL, NULL, "Only rows of this provider."                \
    }
static const struct flag catalog_list_flags[] = {
    LIMIT_FLAG("0"),
    {"provider", 0, FLAG_TEXT, "NAME", NULL, NULL, "Only of this provider."},
    {"model", 0, FLAG_TEXT, "NAME", NULL, NULL, "Only models with this name."},
    {.name = NULL},
};
static const struct flag catalog_lint_flags[] = {FORMAT_FLAG, {.name = NULL}};
static const struct flag catalog_import_flags[] = {IMPORT_FLAGS, CHANGE_FLAGS, {.name = NULL}};
static const struct flag catalog_diff_flags[] = {
    IMPORT_FLAGS,
    {"exit-code", 0, FLAG_BOOL, NULL, NULL, NULL, "Exit 10 when something would change."},
    {.name = NULL},
};

static const struct flag reprice_flags[] = {
    {"since", 0, FLAG_TEXT, "TIME", NULL, "30d", "From then on: 24h, 7d or an RFC 3339 time."},
    {"until", 0, FLAG_TEXT, "TIME", NULL, NULL, "Before that; now without this."},
    CHANGE_FLAGS,
    {.name = NULL},
};

static const struct flag diff_flags[] = {
    {"exit-code", 0, FLAG_BOOL, NULL, NULL, NULL, "Exit 10 if there is a difference."},
    {.name = NULL},
};
static const struct flag apply_flags[] = {
    {"to", 0, FLAG_TEXT, "PATH", "STEELYARD_CONFIG", NULL,
     "The file that the control plane was started with (--config)."},
    {"dry-run", 0, FLAG_BOOL, NULL, NULL, NULL, "Say what would be, and change nothing."},
    {.name = NULL},
};
static const struct flag import_flags[] = {
    {"write", 0, FLAG_TEXT, "OUT", NULL, NULL, "Write the result there instead of to stdout."},
    {"allow-lossy", 0, FLAG_BOOL, NULL, NULL, NULL,
     "Exit 0 even if something is left to do, or left out."},
    {"model", 0, FLAG_TEXT, "MODEL", NULL, NULL,
     "Portkey: what targets are asked for that name no model."},
    {"name", 0, FLAG_TEXT, "NAME", NULL, NULL, "Of the route, where the file names none."},
    YES_FLAG,
    {.name = NULL},
};

const struct command commands[] = {
    {"serve", NULL, "", 0, 0, "Run everything on this machine: both planes and a private Postgres.",
     "Starts a private PostgreSQL (Unix socket only), the control plane and a data plane node, "
     "restarts what dies, and stops all of it in order on SIGTERM. State lives in --state-dir "
     "(default /var/lib/steelyard); a second start picks up where it was, also after kill -9.",
     serve_flags, serve_run, false},
    {"status", NULL, "", 0, 0, "Nodes, policies and counts.", NULL, status_flags, status_show,
     false},
    {"keys", "create", "", 0, 0, "Make an API key; it is shown once.",
     "With `-o name` only the key is printed. With --role it is a credential for the admin API and "
     "this tool (STEELYARD_OPERATOR_KEY) and calls no model; keys that it makes never have more "
     "than it has.",
     key_flags, keys_create, false},
    {"keys", "list", "", 0, 0, "Keys, without their secrets.", NULL, key_list_flags, keys_list,
     false},
    {"keys", "show", "ID", 1, 1, "One key: scope, limits, budgets.", NULL, NULL, keys_show, false},
    {"keys", "update", "ID", 1, 1, "Change what a key may do.",
     "Only what is given changes; `none` takes a limit away.", key_update_flags, keys_update,
     false},
    {"keys", "rotate", "ID", 1, 1, "Give a key a new secret; the old one works for a while.", NULL,
     key_rotate_flags, keys_rotate, false},
    {"keys", "disable", "ID", 1, 1, "Refuse a key from now on, on every node.", NULL,
     key_disable_flags, keys_disable, false},
    {"keys", "enable", "ID", 1, 1, "Take a disabled key again.", NULL, key_enable_flags,
     keys_enable, false},
    {"keys", "expire", "ID", 1, 1, "Let a key end now, or at a time.", NULL, key_expire_flags,
     keys_expire, false},
    {"keys", "delete", "ID", 1, 1, "End a key for ever; its records stay.", NULL, key_delete_flags,
     keys_delete, false},
    {"teams", "list", "", 0, 0, "Teams and what they may do.", NULL, list_flags, teams_list, false},
    {"teams", "show", "NAME", 1, 1, "One team.", NULL, NULL, teams_show, false},
    {"teams", "create", "NAME", 1, 1, "Make a team.", NULL, team_flags, teams_create, false},
    {"teams", "set", "NAME", 1, 1, "Change a team.", NULL, team_flags, teams_set, false},
    {"teams", "delete", "NAME", 1, 1, "Remove a team that has no keys.", NULL, delete_flags,
     teams_delete, false},
    {"orgs", "list", "", 0, 0, "Organisations and what they may do.", NULL, list_flags, teams_list,
     false},
    {"orgs", "show", "NAME", 1, 1, "One organisation.", NULL, NULL, teams_show, false},
    {"orgs", "create", "NAME", 1, 1, "Make an organisation.", NULL, org_flags, teams_create, false},
    {"orgs", "set", "NAME", 1, 1, "Change an organisation.", NULL, org_flags, teams_set, false},
    {"orgs", "delete", "NAME", 1, 1, "Remove an organisation that has no keys and teams.", NULL,
     delete_flags, teams_delete, false},
    {"budgets", "set", "[ID]", 0, 1, "Limit what an account may spend.",
     "With --account and --period it makes that budget or changes it; with an ID it changes that "
     "one, its period too.",
     budget_flags, budgets_set, false},
    {"budgets", "list", "", 0, 0, "Budgets: limit, settled, committed, remaining.",
     "Committed is what nodes hold or have spent; settled is what they say they have spent.",
     budget_list_flags, budgets_list, false},
    {"budgets", "show", "ID", 1, 1, "One budget and its current period.", NULL, NULL, budgets_show,
     false},
    {"budgets", "remove", "ID", 1, 1, "Remove a budget; what was spent stays on record.", NULL,
     delete_flags, budgets_remove, false},
    {"budgets", "reprice", "MODEL", 1, 1, "Rate what was served by the prices in force now.",
     "Corrects what budgets were charged, after a price was wrong: each stored attempt at the "
     "model "
     "is rated by the price that now holds for its time, and the difference is posted as a signed "
     "adjustment; no row is changed. Runs in batches, each complete by itself: Ctrl-C loses "
     "nothing, "
     "and running again posts nothing twice.",
     reprice_flags, budgets_reprice, false},
    {"spend", "show", "", 0, 0, "What was spent, by account, key, model, policy or day.",
     "From the daily sums, in whole UTC days. The total counts every decision once, also where "
     "groups overlap. Decisions whose price is not known are counted apart.",
     spend_flags, spend_show, false},
    {"spend", "reconcile", "", 0, 0, "Compare decisions, settlements and sums now.",
     "Ended lives of allocations are trued up first. Exits 10 when a difference is an alarm.",
     reconcile_flags, spend_reconcile, false},
    {"spend", "checks", "", 0, 0, "The last reconciliations.", NULL, list_flags, spend_checks,
     false},
    {"models", "list", "", 0, 0, "Models, where they are served and what they cost.", NULL, NULL,
     models_list, false},
    {"models", "fingerprints", "[MODEL]", 0, 1, "What the answers of deployments say made them.",
     "Each with how long it has been there; DRIFT says when it was found to be another.",
     history_flags, models_fingerprints, false},
    {"catalog", "list", "", 0, 0, "Known prices: imported ones, and the shipped table.", NULL,
     catalog_list_flags, catalog_list, false},
    {"catalog", "show", "MODEL", 1, 1, "What a model costs, and which source says so.",
     "Every price of the model that is in force, with the time from which it holds: the "
     "configuration's wins over an imported one, and that over the shipped table.",
     NULL, catalog_show, false},
    {"catalog", "import", "FILE", 1, 1, "Take prices from a published file.",
     "Reads models.dev's api.json, LiteLLM's model_prices_and_context_window.json, or a table with "
     "a "
     "header. Rows that cannot be taken are told with the reason. Only what changed becomes a new "
     "price; exits 10 when a change was too large to be taken unasked.",
     catalog_import_flags, catalog_import, false},
    {"catalog", "diff", "FILE", 1, 1, "What an import of this file would change.",
     "Old price, new price and factor of each; nothing is changed.", catalog_diff_flags,
     catalog_diff, false},
    {"catalog", "lint", "[FILE]", 0, 1, "Prices that are probably wrong.",
     "Of a file, without a server; or of the configuration and the imports in force. Exits 10 when "
     "there are any.",
     catalog_lint_flags, catalog_lint_show, false},
    {"policies", "list", "", 0, 0, "Versions of policies and their state.", NULL, list_flags,
     policies_list, false},
    {"policies", "show", "NAME [VERSION]", 1, 2,
     "One version: metrics, gates, which nodes have it.",
     "NAME@VERSION works too; without a version it is the one in force.", NULL, policies_show,
     false},
    {"policies", "train", "[NAME]", 0, 1, "Learn a new version from decisions and feedback.",
     "Shows progress; Ctrl-C asks the server to cancel the run. Exits 10 when the result does not "
     "pass its gates. "
     "With --data it needs no server: recorded answers in, a policy file out.",
     train_flags, policies_train, false},
    {"policies", "route", "", 0, 0, "What a policy file would choose, without a server.",
     "Writes a line for each query: id, model, and every model's expected quality and cost.",
     route_flags, policies_route, false},
    {"policies", "calibrate", "[NAME[@VERSION]]", 0, 1,
     "The threshold at which a share of decisions goes to the strongest model.",
     "The version in force of policy `default` where none is named. Recomputes recorded decisions; "
     "callers use it as the model router-NAME-THRESHOLD.",
     calibrate_flags, policies_calibrate, false},
    {"policies", "explain", "NAME VERSION", 1, 2,
     "What a version would change, on the last decisions.",
     "Recomputes recorded decisions with the version: share by model, other choices, expected cost "
     "and quality with intervals at 95 %, and what they rest on. NAME@VERSION works too.",
     explain_flags, policies_explain, false},
    {"policies", "rollout", "NAME[@VERSION]", 1, 1,
     "Roll a version out by evidence: shadow, canary, everyone.",
     "Without a version the newest that passed its gates. It goes on by itself, and back by itself "
     "when a guard sees harm: watch it with `policies canary status`.",
     rollout_flags, policies_rollout, false},
    {"policies", "canary", "status|set|abort [NAME]", 1, 2,
     "How a rollout is doing; take it further or back.",
     "status exits 10 when a guard was breached. set goes on to the stage of --percent without "
     "waiting. abort works while the database is away too.",
     canary_flags, policies_canary, false},
    {"policies", "pause", "NAME", 1, 1, "Hold a rollout where it is.", NULL, change_flags,
     policies_pause, false},
    {"policies", "resume", "NAME", 1, 1, "Let a held or halted rollout go on.", NULL, change_flags,
     policies_resume, false},
    {"policies", "history", "NAME", 1, 1, "Who moved a policy to what, when and why.",
     "`-o wide` and `-o json` add the evidence.", history_flags, policies_history, false},
    {"policies", "drift", "NAME", 1, 1, "What was found to have changed, newest first.",
     "Models that became better or worse, requests and predicted quality that are others than "
     "before, and deployments whose answers say that another model makes them.",
     history_flags, policies_drift, false},
    {"policies", "freeze", "[NAME]", 0, 1, "No rollout goes forward, of one policy or of all.",
     "Back is always possible.", plain_change_flags, policies_freeze, false},
    {"policies", "unfreeze", "[NAME]", 0, 1, "End a freeze.", NULL, plain_change_flags,
     policies_unfreeze, false},
    {"policies", "override", "NAME[@VERSION]", 1, 1,
     "Pin a version for everyone for a while, without evidence.",
     "Needs --reason and --expires; then, or with --end, the version in service serves again.",
     override_flags, policies_override, false},
    {"policies", "promote", "NAME VERSION", 1, 2, "Put a version in force on every node by hand.",
     "Without the evidence of a rollout; needs --reason and is kept as an override. Refused while "
     "another version is being rolled out.",
     change_flags, policies_promote, false},
    {"policies", "revert", "NAME[@VERSION]", 1, 1,
     "Roll a version that served before (the previous one) out again.",
     "To everyone as soon as the nodes have it, with the edges and guards of a rollout; needs "
     "--reason. The content gets a new number. `policies rollback` waits for nothing.",
     revert_flags, policies_revert, false},
    {"policies", "rollback", "NAME [VERSION]", 1, 2,
     "Put the previous (or a given) version back in force.",
     "The old artifact gets a new version number, so that one number always means one content. A "
     "rollout that is under way is aborted first.",
     change_flags, policies_rollback, false},
    {"policies", "frontier", "NAME [VERSION]", 1, 2, "What quality costs: a plot.",
     "`-o wide` adds the figures of every point.", NULL, policies_frontier, false},
    {"decisions", "list", "", 0, 0, "Decisions, newest first.", NULL, decision_flags,
     decisions_list, false},
    {"decisions", "show", "ID", 1, 1, "The whole record of a decision, as JSON.", NULL, NULL,
     decisions_show, false},
    {"decisions", "why", "ID", 1, 1, "Why this model: candidates, exclusions, features.",
     "Recomputed from the record: quality, cost and utility of each candidate, what was excluded "
     "and why, the ten features that weighed most, and what would have tipped the choice.",
     NULL, decisions_why, false},
    {"decisions", "replay", "", 0, 0, "Recompute recorded decisions and compare them bit by bit.",
     "Exits 10 if any decision is not what its record says.", replay_flags, decisions_replay,
     false},
    {"decisions", "export", "", 0, 0, "Every decision with its whole record, oldest first.",
     "A page at a time, so that memory does not grow with their number; what was cut short goes on "
     "with --cursor. -o jsonl, or -o csv with the record as JSON in the last column.",
     export_flags, decisions_export, false},
    {"audit", "request", "ID", 1, 1, "Everything that is known of one request.",
     "Candidates and exclusions, attempts, the budgets it was charged to, prices corrected since, "
     "feedback, and the arm of a rollout that decided.",
     NULL, audit_request, false},
    {"audit", "key", "KEY", 1, 1, "What a key's requests got, and what was excluded why.", NULL,
     audit_key_flags, audit_key, false},
    {"audit", "off-greedy", "NAME@VERSION", 1, 1,
     "Decisions of a policy version that did not take the best candidate.",
     "Because another was explored, or a conversation stayed with its model.", audit_list_flags,
     audit_off_greedy, false},
    {"audit", "served-elsewhere", "", 0, 0, "Requests that another model served than the chosen.",
     NULL, audit_list_flags, audit_served_elsewhere, false},
    {"audit", "spend", "ACCOUNT", 1, 1,
     "An account's spend by budget and period, against its limit, with corrections.",
     "ACCOUNT is like team:web or key:ID; removed ones are found as well. `-o json` lists every "
     "correction with its actor and reason.",
     audit_list_flags, audit_spend, false},
    {"audit", "rollout", "ID", 1, 1, "Who moved a rollout, when, and on what evidence.", NULL,
     audit_rollout_flags, audit_rollout, false},
    {"audit", "log", "", 0, 0, "Changes: by whom, why, and which rows before and after.",
     "`-o json` has the rows.", audit_log_flags, audit_log, false},
    {"audit", "export", "", 0, 0, "The log of changes, newest first, to its end.",
     "A page at a time, as `decisions export`.", audit_export_flags, audit_export, false},
    {"doctor", NULL, "", 0, 0, "Is it well: control plane, schema, nodes, a request.",
     "Makes a key that lives ten minutes, asks a node with it, and takes it back. Exits 10 when "
     "something is wrong.",
     doctor_flags, doctor_run, false},
    {"report", NULL, "", 0, 0, "Cost and quality, against always-best and always-cheapest.", NULL,
     report_flags, report_show, false},
    {"config", "validate", "FILE", 1, 1, "Check a configuration; every error with line and column.",
     "Exits 10 if it is invalid.", NULL, config_validate, false},
    {"config", "diff", "FILE [OLD]", 1, 2, "What a configuration would change.",
     "Against what is in force at the server, or against the file OLD, without a server. Every "
     "value is compared as it holds, defaults included; the database's address is not shown, so "
     "that a change of it alone is not seen.",
     diff_flags, config_diff, false},
    {"config", "apply", "FILE", 1, 1, "Check a configuration and put it where it is read.",
     "Writes over the file of --to in one step, unless FILE has an error; a control plane that "
     "watches its file takes it at once, others on SIGHUP. With --dry-run it says what would "
     "change.",
     apply_flags, config_apply, false},
    {"config", "schema", "", 0, 0, "JSON Schema of the configuration, for editors.", NULL, NULL,
     config_schema, false},
    {"import", NULL, "FORMAT FILE", 2, 2,
     "Make a steelyard.yaml of another program's configuration.",
     "FORMAT is litellm, portkey, openrouter or route-switch. The result goes to stdout, what "
     "became of every value of the original to stderr: FILE:LINE:COLUMN: path: exact, approximate, "
     "manual or unsupported, and why; `-o json` has all of it. Secrets are never copied. Exits 10 "
     "when something is manual or unsupported.",
     import_flags, import_file, false},
    {"version", NULL, "", 0, 0, "Version of this program.", NULL, NULL, version_show, false},
    {"completion", NULL, "SHELL", 1, 1, "Completion script for bash, zsh or fish.", NULL, NULL,
     completion_show, false},
    {"docs", NULL, "PAGE", 1, 1, "Reference pages from the tables in the code: cli, man, config.",
     NULL, NULL, docs_show, true},
    {.noun = NULL},
};
