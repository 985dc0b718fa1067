/* What others call the providers of common/hosts. A name that is not here is looked for among the
 * hosts themselves. */
#include "controlplane/import/internal.h"

struct vendor {
    const char *theirs, *host; /* host NULL: known, and not served here. */
};

static const struct vendor litellm_names[] = {
    {"azure_ai", "azure-inference"}, {"azure_text", "azure"},
    {"bedrock_converse", "bedrock"}, {"codestral", "mistral"},
    {"cohere_chat", "cohere"},       {"custom_openai", "custom"},
    {"dashscope", "alibaba"},        {"fireworks_ai", "fireworks"},
    {"friendliai", "friendli"},      {"github", "github-models"},
    {"github_copilot", NULL},        {"gradient_ai", "digitalocean"},
    {"hosted_vllm", "vllm"},         {"jina_ai", "jina"},
    {"litellm_proxy", "litellm"},    {"llamafile", "llamacpp"},
    {"lm_studio", "lmstudio"},       {"meta_llama", "llama"},
    {"nvidia_nim", "nvidia"},        {"ollama_chat", "ollama"},
    {"openai_like", "custom"},       {"text-completion-openai", "openai"},
    {"together_ai", "together"},     {"vercel_ai_gateway", "vercel"},
    {"vertex_ai", "vertex"},         {"vertex_ai_beta", "vertex"},
    {"xinference", "custom"},
};
static const struct vendor portkey_names[] = {
    {"anthropic", "anthropic"},    {"azure-ai", "azure-inference"},
    {"azure-openai", "azure"},     {"dashscope", "alibaba"},
    {"fireworks-ai", "fireworks"}, {"github", "github-models"},
    {"google", "gemini"},          {"mistral-ai", "mistral"},
    {"monsterapi", NULL},          {"perplexity-ai", "perplexity"},
    {"together-ai", "together"},   {"vertex-ai", "vertex"},
    {"workers-ai", "cloudflare"},  {"x-ai", "xai"},
};

const struct host *vendor_find(enum vendor_names names, struct str name)
{
    const struct vendor *table = names == VENDOR_LITELLM ? litellm_names : portkey_names;
    size_t count = names == VENDOR_LITELLM ? sizeof litellm_names / sizeof litellm_names[0]
                                           : sizeof portkey_names / sizeof portkey_names[0];
    for (size_t v = 0; v < count; v++) {
        if (str_is(name, table[v].theirs))
            return table[v].host == NULL ? NULL : host_find(str_from(table[v].host));
    }
    return host_find(name);
}

const struct host *vendor_of_model(struct str model)
{
    static const struct vendor starts[] = {
        {"gpt-", "openai"},
        {"o1", "openai"},
        {"o3", "openai"},
        {"o4", "openai"},
        {"chatgpt-", "openai"},
        {"text-embedding-", "openai"},
        {"text-moderation-", "openai"},
        {"omni-moderation-", "openai"},
        {"davinci", "openai"},
        {"babbage", "openai"},
        {"ft:gpt-", "openai"},
        {"claude-", "anthropic"},
        {"command", "cohere"},
        {"gemini-", "gemini"},
        {"mistral-", "mistral"},
        {"deepseek-", "deepseek"},
        {"grok-", "xai"},
    };
    for (size_t v = 0; v < sizeof starts / sizeof starts[0]; v++) {
        if (str_starts(model, str_from(starts[v].theirs)))
            return host_find(str_from(starts[v].host));
    }
    return NULL;
}
