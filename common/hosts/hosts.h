/* hosts.h: who can be asked, as data: the type of a provider in steelyard.yaml is a row of one
 * table with its dialect, address, credential and deviations. Both planes use it: the control plane
 * to fill in and to check, nodes to know how to speak. Immutable; any thread. */
#ifndef STEELYARD_COMMON_HOSTS_HOSTS_H
#define STEELYARD_COMMON_HOSTS_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/str.h"

/* How requests and replies are written. The first three are also what callers speak. */
enum dialect {
    DIALECT_OPENAI, /* Chat completions. */
    DIALECT_RESPONSES,
    DIALECT_ANTHROPIC, /* Messages. */
    DIALECT_GEMINI,    /* generateContent. */
    DIALECT_BEDROCK,   /* Converse. */
    DIALECT_COHERE,    /* v2 chat. */
    DIALECTS,
};
#define DIALECT_CALLERS 3
const char *dialect_name(enum dialect d); /* "openai" */

/* How the credential is shown. */
enum host_auth {
    HOST_AUTH_NONE,      /* None is needed; one that is given goes as BEARER. */
    HOST_AUTH_BEARER,    /* authorization: Bearer K */
    HOST_AUTH_API_KEY,   /* api-key: K */
    HOST_AUTH_X_API_KEY, /* x-api-key: K */
    HOST_AUTH_X_GOOG,    /* x-goog-api-key: K */
    HOST_AUTH_SIGV4,     /* AWS signature, version 4; or BEARER with an API key of Bedrock. */
    HOST_AUTH_GOOGLE,    /* BEARER with a token of a service account. */
};

/* What else a host answers besides its dialect, at the OpenAI paths. */
enum host_serves {
    HOST_SERVES_RESPONSES = 1,
    HOST_SERVES_EMBEDDINGS = 2,
    HOST_SERVES_COMPLETIONS = 4,
    HOST_SERVES_MODERATIONS = 8,
    HOST_SERVES_RERANK = 16, /* At /rerank, as Cohere and Jina have it. */
};

/* Where a host deviates from its dialect. */
enum host_quirk {
    HOST_QUIRK_MAX_TOKENS = 1,         /* max_tokens only; does not know max_completion_tokens. */
    HOST_QUIRK_NO_STREAM_OPTIONS = 2,  /* Refuses stream_options; sends usage by itself, or none. */
    HOST_QUIRK_NO_DEVELOPER = 4,       /* Role developer is refused: system. */
    HOST_QUIRK_NINE_CHARACTER_IDS = 8, /* Ids of calls are 9 of [a-zA-Z0-9]. */
    HOST_QUIRK_RANDOM_SEED = 16,       /* seed is random_seed. */
    HOST_QUIRK_ANY_CHOICE = 32,       /* tool_choice required is "any"; a named one is not known. */
    HOST_QUIRK_PREFIX = 64,           /* A last turn of the assistant carries prefix:true. */
    HOST_QUIRK_REASONING_APART = 128, /* completion_tokens leaves reasoning out. */
    HOST_QUIRK_REASONING_BACK = 256,  /* Wants reasoning_content back on turns of the assistant. */
    HOST_QUIRK_X_GROQ = 512,          /* Usage of a stream in x_groq. */
    HOST_QUIRK_NO_METADATA = 1024, /* Refuses metadata, store, service_tier, safety_identifier. */
    HOST_QUIRK_NO_SCHEMA = 2048,   /* json_schema is refused: json_object. */
    HOST_QUIRK_NO_PARALLEL = 4096, /* parallel_tool_calls is refused. */
    HOST_QUIRK_VERSIONED_PATHS = 8192, /* Azure: /openai/v1/..., or with an api-version. */
    /* Some models answer at /responses alone (host_dialect_for_model). */
    HOST_QUIRK_RESPONSES_MODELS = 16384,
};

struct host {
    struct str name;  /* The type: "groq" */
    struct str title; /* "Groq" */
    enum dialect dialect;
    enum host_auth auth;
    struct str base_url; /* "https://api.groq.com/openai/v1"; empty: must be given. */
    struct str env;      /* Where its key usually is: "GROQ_API_KEY"; empty: none is usual. */
    struct str catalog;  /* The seller's name in the price catalogue; empty: none. */
    struct str semconv;  /* gen_ai.provider.name; empty: the provider's own name. */
    uint32_t serves;     /* enum host_serves */
    uint32_t quirks;     /* enum host_quirk */
    bool local;          /* Usually on the own machine or network: private addresses are allowed. */
};

/* NULL: no such type. Names are compared as they are, lower case. */
const struct host *host_find(struct str name);
size_t host_count(void);
const struct host *host_at(size_t index); /* By name. */
/* The dialect in which a caller's request goes to a host: its own where the host speaks it. */
enum dialect host_dialect_for(const struct host *h, enum dialect caller);
/* ... for this model there: OpenAI's codex, pro and deep-research models have no chat completions.
 */
enum dialect host_dialect_for_model(const struct host *h, enum dialect caller, struct str model);

/* The usual base_url of a cloud that has none without a region (bedrock), or without a project
 * (vertex, vertex-anthropic; region "" is global). ERR_UNSUPPORTED: the type's does not follow from
 * them. ERR_INVALID: one is missing, or is no such word. ERR_NOMEM, ERR_TOO_LARGE. */
int host_address(const struct host *h, struct str region, struct str project,
                 struct buf *out) MUST_CHECK;

/* Where a model of this name is served there, as far as the provider's region and the name say:
 * Bedrock's inference profiles ("eu.", "global.") run in any region of theirs. Empty: not said. */
struct str host_region(const struct host *h, struct str region, struct str model);

#endif
