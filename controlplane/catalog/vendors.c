#include "controlplane/catalog/vendors.h"

struct pair {
    const char *from;
    const char *to;
};

/* Regional hosts of one seller charge the same; clouds with a host per customer (Azure, Bedrock,
 * Vertex) are named with `catalog:` in the configuration instead. */
static const struct pair hosts[] = {
    {"api.anthropic.com", "anthropic"},
    {"api.cerebras.ai", "cerebras"},
    {"api.cohere.ai", "cohere"},
    {"api.cohere.com", "cohere"},
    {"api.deepinfra.com", "deepinfra"},
    {"api.deepseek.com", "deepseek"},
    {"api.fireworks.ai", "fireworks-ai"},
    {"api.groq.com", "groq"},
    {"api.llama.com", "llama"},
    {"api.minimax.io", "minimax"},
    {"api.mistral.ai", "mistral"},
    {"api.moonshot.ai", "moonshotai"},
    {"api.openai.com", "openai"},
    {"api.perplexity.ai", "perplexity"},
    {"api.together.xyz", "togetherai"},
    {"api.upstage.ai", "upstage"},
    {"api.x.ai", "xai"},
    {"api.z.ai", "zai"},
    {"dashscope-intl.aliyuncs.com", "alibaba"},
    {"generativelanguage.googleapis.com", "google"},
    {"openrouter.ai", "openrouter"},
};

static const struct pair litellm_names[] = {
    {"bedrock", "amazon-bedrock"},
    {"bedrock_converse", "amazon-bedrock"},
    {"cloudflare", "cloudflare-workers-ai"},
    {"cohere_chat", "cohere"},
    {"dashscope", "alibaba"},
    {"fireworks_ai", "fireworks-ai"},
    {"fireworks_ai-embedding-models", "fireworks-ai"},
    {"gemini", "google"},
    {"moonshot", "moonshotai"},
    {"novita", "novita-ai"},
    {"text-completion-openai", "openai"},
    {"together_ai", "togetherai"},
    {"vercel_ai_gateway", "vercel"},
};

static struct str find(const struct pair *pairs, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_is(name, pairs[i].from))
            return str_from(pairs[i].to);
    }
    return STR_NULL;
}

struct str vendor_of_host(struct str host)
{
    return find(hosts, sizeof hosts / sizeof hosts[0], host);
}

struct str vendor_of_url(struct str url)
{
    ptrdiff_t scheme = str_search(url, STR("://"));
    struct str host = scheme < 0 ? url : str_slice(url, (size_t)scheme + 3, url.len);
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] == '/' || host.data[i] == ':') {
            host = str_slice(host, 0, i);
            break;
        }
    }
    return vendor_of_host(host);
}

struct str vendor_of_litellm(struct str provider)
{
    if (str_is(provider, "vertex_ai-anthropic_models"))
        return STR("google-vertex-anthropic");
    if (str_starts(provider, STR("vertex_ai")))
        return STR("google-vertex");
    struct str to = find(litellm_names, sizeof litellm_names / sizeof litellm_names[0], provider);
    return to.data != NULL ? to : provider;
}

struct str vendor_litellm_model(struct str provider, struct str model)
{
    struct str head, rest;
    if (!str_cut(model, '/', &head, &rest) || rest.len == 0)
        return model;
    bool prefix = str_eq(head, provider) || str_eq(head, vendor_of_litellm(provider)) ||
                  (str_starts(provider, STR("vertex_ai")) && str_is(head, "vertex_ai")) ||
                  (str_starts(provider, STR("bedrock")) && str_is(head, "bedrock")) ||
                  (str_starts(provider, STR("fireworks_ai")) && str_is(head, "fireworks_ai"));
    /* Groq sells "openai/gpt-oss-20b" under this very name: only its own prefix is cut. */
    return prefix ? rest : model;
}
