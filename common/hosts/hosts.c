#include "common/hosts/hosts.h"

#include <string.h>

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }

#define R   HOST_SERVES_RESPONSES
#define E   HOST_SERVES_EMBEDDINGS
#define C   HOST_SERVES_COMPLETIONS
#define M   HOST_SERVES_MODERATIONS
#define K   HOST_SERVES_RERANK
#define OLD HOST_QUIRK_MAX_TOKENS
#define DEV HOST_QUIRK_NO_DEVELOPER
#define MET HOST_QUIRK_NO_METADATA

/* What most servers of the chat completions dialect have in common. */
#define USUAL (OLD | DEV | MET)

#define HOST(n, t, d, a, url, key, cat, sem, what, odd, near)                                      \
    {                                                                                              \
        S(n), S(t), DIALECT_##d, HOST_AUTH_##a, S(url), S(key), S(cat), S(sem), (what), (odd),     \
            (near)                                                                                 \
    }

/* Sorted by name. */
static const struct host hosts[] = {
    HOST("aihubmix", "AIHubMix", OPENAI, BEARER, "https://aihubmix.com/v1", "AIHUBMIX_API_KEY",
         "aihubmix", "", E, DEV, false),
    HOST("alibaba", "Alibaba Model Studio", OPENAI, BEARER,
         "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "alibaba",
         "", E, USUAL, false),
    HOST("alibaba-cn", "Alibaba Model Studio (China)", OPENAI, BEARER,
         "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "alibaba-cn", "",
         E, USUAL, false),
    HOST("anthropic", "Anthropic", ANTHROPIC, X_API_KEY, "https://api.anthropic.com",
         "ANTHROPIC_API_KEY", "anthropic", "anthropic", 0, 0, false),
    HOST("azure", "Azure OpenAI", OPENAI, API_KEY, "", "AZURE_API_KEY", "azure", "azure.ai.openai",
         R | E | C, HOST_QUIRK_VERSIONED_PATHS | HOST_QUIRK_RESPONSES_MODELS, false),
    HOST("azure-inference", "Azure AI Foundry", OPENAI, API_KEY, "",
         "AZURE_COGNITIVE_SERVICES_API_KEY", "azure-cognitive-services", "azure.ai.inference", E,
         USUAL, false),
    HOST("baseten", "Baseten", OPENAI, BEARER, "https://inference.baseten.co/v1", "BASETEN_API_KEY",
         "baseten", "", 0, USUAL, false),
    HOST("bedrock", "Amazon Bedrock", BEDROCK, SIGV4, "", "AWS_BEARER_TOKEN_BEDROCK",
         "amazon-bedrock", "aws.bedrock", 0, 0, false),
    HOST("cerebras", "Cerebras", OPENAI, BEARER, "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY",
         "cerebras", "", C, DEV | MET, false),
    HOST("chutes", "Chutes", OPENAI, BEARER, "https://llm.chutes.ai/v1", "CHUTES_API_KEY", "chutes",
         "", C, USUAL, false),
    HOST("cloudflare", "Cloudflare Workers AI", OPENAI, BEARER, "", "CLOUDFLARE_API_KEY",
         "cloudflare-workers-ai", "", E, USUAL, false),
    HOST("cohere", "Cohere", COHERE, BEARER, "https://api.cohere.com", "COHERE_API_KEY", "cohere",
         "cohere", K, 0, false),
    HOST("custom", "Any server of chat completions", OPENAI, BEARER, "", "", "", "", E | C, 0,
         false),
    HOST("databricks", "Databricks", OPENAI, BEARER, "", "DATABRICKS_TOKEN", "databricks", "", E,
         USUAL, false),
    HOST("deepinfra", "DeepInfra", OPENAI, BEARER, "https://api.deepinfra.com/v1/openai",
         "DEEPINFRA_API_KEY", "deepinfra", "", E | C, USUAL, false),
    HOST("deepseek", "DeepSeek", OPENAI, BEARER, "https://api.deepseek.com", "DEEPSEEK_API_KEY",
         "deepseek", "deepseek", 0,
         USUAL | HOST_QUIRK_REASONING_BACK | HOST_QUIRK_NO_SCHEMA | HOST_QUIRK_NO_PARALLEL, false),
    HOST("digitalocean", "DigitalOcean", OPENAI, BEARER, "https://inference.do-ai.run/v1",
         "DIGITALOCEAN_ACCESS_TOKEN", "digitalocean", "", 0, DEV | MET, false),
    HOST("fireworks", "Fireworks AI", OPENAI, BEARER, "https://api.fireworks.ai/inference/v1",
         "FIREWORKS_API_KEY", "fireworks-ai", "", R | E | C, USUAL, false),
    HOST("friendli", "Friendli", OPENAI, BEARER, "https://api.friendli.ai/serverless/v1",
         "FRIENDLI_TOKEN", "friendli", "", C, USUAL, false),
    HOST("gemini", "Google Gemini", GEMINI, X_GOOG,
         "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", "google",
         "gcp.gemini", 0, 0, false),
    HOST("github-models", "GitHub Models", OPENAI, BEARER, "https://models.github.ai/inference",
         "GITHUB_TOKEN", "github-models", "", E, DEV | MET, false),
    HOST("groq", "Groq", OPENAI, BEARER, "https://api.groq.com/openai/v1", "GROQ_API_KEY", "groq",
         "groq", R, DEV | MET | HOST_QUIRK_X_GROQ, false),
    HOST("helicone", "Helicone", OPENAI, BEARER, "https://ai-gateway.helicone.ai/v1",
         "HELICONE_API_KEY", "helicone", "", R, 0, false),
    HOST("huggingface", "Hugging Face", OPENAI, BEARER, "https://router.huggingface.co/v1",
         "HF_TOKEN", "huggingface", "", R, USUAL, false),
    HOST("hyperbolic", "Hyperbolic", OPENAI, BEARER, "https://api.hyperbolic.xyz/v1",
         "HYPERBOLIC_API_KEY", "", "", C, USUAL, false),
    HOST("inception", "Inception", OPENAI, BEARER, "https://api.inceptionlabs.ai/v1",
         "INCEPTION_API_KEY", "inception", "", C, USUAL, false),
    HOST("jina", "Jina AI", OPENAI, BEARER, "https://api.jina.ai/v1", "JINA_API_KEY", "", "", E | K,
         USUAL, false),
    HOST("litellm", "LiteLLM", OPENAI, BEARER, "http://127.0.0.1:4000/v1", "LITELLM_API_KEY", "",
         "", R | E | C | M | K, 0, true),
    HOST("llama", "Llama API", OPENAI, BEARER, "https://api.llama.com/compat/v1", "LLAMA_API_KEY",
         "llama", "", 0, DEV | MET, false),
    HOST("llamacpp", "llama.cpp", OPENAI, NONE, "http://127.0.0.1:8080/v1", "", "", "", E | C | K,
         USUAL, true),
    HOST("lmstudio", "LM Studio", OPENAI, NONE, "http://127.0.0.1:1234/v1", "", "lmstudio", "",
         R | E | C, USUAL, true),
    HOST("localai", "LocalAI", OPENAI, NONE, "http://127.0.0.1:8080/v1", "", "", "", E | C | K,
         USUAL, true),
    HOST("minimax", "MiniMax", ANTHROPIC, BEARER, "https://api.minimax.io/anthropic",
         "MINIMAX_API_KEY", "minimax", "", 0, 0, false),
    HOST("mistral", "Mistral", OPENAI, BEARER, "https://api.mistral.ai/v1", "MISTRAL_API_KEY",
         "mistral", "mistral_ai", E | M,
         USUAL | HOST_QUIRK_NO_STREAM_OPTIONS | HOST_QUIRK_NINE_CHARACTER_IDS |
             HOST_QUIRK_RANDOM_SEED | HOST_QUIRK_ANY_CHOICE | HOST_QUIRK_PREFIX,
         false),
    HOST("moonshot", "Moonshot AI", OPENAI, BEARER, "https://api.moonshot.ai/v1",
         "MOONSHOT_API_KEY", "moonshotai", "moonshot_ai", 0, USUAL, false),
    HOST("moonshot-cn", "Moonshot AI (China)", OPENAI, BEARER, "https://api.moonshot.cn/v1",
         "MOONSHOT_API_KEY", "moonshotai-cn", "moonshot_ai", 0, USUAL, false),
    HOST("nebius", "Nebius Token Factory", OPENAI, BEARER, "https://api.tokenfactory.nebius.com/v1",
         "NEBIUS_API_KEY", "nebius", "", E | C, USUAL, false),
    HOST("novita", "Novita AI", OPENAI, BEARER, "https://api.novita.ai/openai", "NOVITA_API_KEY",
         "novita-ai", "", C, USUAL, false),
    HOST("nvidia", "NVIDIA NIM", OPENAI, BEARER, "https://integrate.api.nvidia.com/v1",
         "NVIDIA_API_KEY", "nvidia", "", E, USUAL, false),
    HOST("ollama", "Ollama", OPENAI, NONE, "http://127.0.0.1:11434/v1", "", "", "", R | E | C,
         USUAL, true),
    HOST("ollama-cloud", "Ollama Cloud", OPENAI, BEARER, "https://ollama.com/v1", "OLLAMA_API_KEY",
         "ollama-cloud", "", 0, USUAL, false),
    HOST("openai", "OpenAI", OPENAI, BEARER, "https://api.openai.com/v1", "OPENAI_API_KEY",
         "openai", "openai", R | E | C | M, HOST_QUIRK_RESPONSES_MODELS, false),
    HOST("openrouter", "OpenRouter", OPENAI, BEARER, "https://openrouter.ai/api/v1",
         "OPENROUTER_API_KEY", "openrouter", "", R | E | C, 0, false),
    HOST("ovhcloud", "OVHcloud AI Endpoints", OPENAI, BEARER,
         "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", "OVHCLOUD_API_KEY", "ovhcloud", "", E,
         USUAL, false),
    HOST("perplexity", "Perplexity", OPENAI, BEARER, "https://api.perplexity.ai",
         "PERPLEXITY_API_KEY", "perplexity", "perplexity", 0, USUAL | HOST_QUIRK_NO_PARALLEL,
         false),
    HOST("poe", "Poe", OPENAI, BEARER, "https://api.poe.com/v1", "POE_API_KEY", "poe", "", R, DEV,
         false),
    HOST("portkey", "Portkey", OPENAI, BEARER, "https://api.portkey.ai/v1", "PORTKEY_API_KEY", "",
         "", R | E | C, 0, false),
    HOST("requesty", "Requesty", OPENAI, BEARER, "https://router.requesty.ai/v1",
         "REQUESTY_API_KEY", "requesty", "", E, 0, false),
    HOST("sambanova", "SambaNova", OPENAI, BEARER, "https://api.sambanova.ai/v1",
         "SAMBANOVA_API_KEY", "", "", E, USUAL, false),
    HOST("scaleway", "Scaleway", OPENAI, BEARER, "https://api.scaleway.ai/v1", "SCALEWAY_API_KEY",
         "scaleway", "", E, USUAL, false),
    HOST("sglang", "SGLang", OPENAI, NONE, "http://127.0.0.1:30000/v1", "", "", "", E | C | K,
         USUAL, true),
    HOST("siliconflow", "SiliconFlow", OPENAI, BEARER, "https://api.siliconflow.com/v1",
         "SILICONFLOW_API_KEY", "siliconflow", "", E | K, USUAL, false),
    HOST("stackit", "STACKIT", OPENAI, BEARER,
         "https://api.openai-compat.model-serving.eu01.onstackit.cloud/v1", "STACKIT_API_KEY",
         "stackit", "", E, USUAL, false),
    HOST("steelyard", "Steelyard", OPENAI, BEARER, "", "", "", "", R | E | C | M | K, 0, true),
    HOST("tgi", "Text Generation Inference", OPENAI, NONE, "http://127.0.0.1:3000/v1", "", "", "",
         C, USUAL, true),
    HOST("together", "Together AI", OPENAI, BEARER, "https://api.together.xyz/v1",
         "TOGETHER_API_KEY", "togetherai", "", E | C | K, USUAL, false),
    HOST("upstage", "Upstage", OPENAI, BEARER, "https://api.upstage.ai/v1/solar", "UPSTAGE_API_KEY",
         "upstage", "", E, USUAL, false),
    HOST("venice", "Venice AI", OPENAI, BEARER, "https://api.venice.ai/api/v1", "VENICE_API_KEY",
         "venice", "", E, DEV | MET, false),
    HOST("vercel", "Vercel AI Gateway", OPENAI, BEARER, "https://ai-gateway.vercel.sh/v1",
         "AI_GATEWAY_API_KEY", "vercel", "", E, 0, false),
    HOST("vertex", "Google Vertex AI", GEMINI, GOOGLE, "", "GOOGLE_APPLICATION_CREDENTIALS",
         "google-vertex", "gcp.vertex_ai", 0, 0, false),
    HOST("vertex-anthropic", "Claude on Google Vertex AI", ANTHROPIC, GOOGLE, "",
         "GOOGLE_APPLICATION_CREDENTIALS", "google-vertex-anthropic", "gcp.vertex_ai", 0, 0, false),
    HOST("vllm", "vLLM", OPENAI, NONE, "http://127.0.0.1:8000/v1", "", "", "", R | E | C | K, MET,
         true),
    HOST("wandb", "Weights & Biases", OPENAI, BEARER, "https://api.inference.wandb.ai/v1",
         "WANDB_API_KEY", "wandb", "", 0, USUAL, false),
    HOST("xai", "xAI", OPENAI, BEARER, "https://api.x.ai/v1", "XAI_API_KEY", "xai", "x_ai", R,
         DEV | MET | HOST_QUIRK_REASONING_APART, false),
    HOST("zai", "Z.AI", OPENAI, BEARER, "https://api.z.ai/api/paas/v4", "ZHIPU_API_KEY", "zai", "",
         0, USUAL | HOST_QUIRK_NO_SCHEMA | HOST_QUIRK_NO_PARALLEL, false),
    HOST("zhipu", "Zhipu AI", OPENAI, BEARER, "https://open.bigmodel.cn/api/paas/v4",
         "ZHIPU_API_KEY", "zhipuai", "", E, USUAL | HOST_QUIRK_NO_SCHEMA | HOST_QUIRK_NO_PARALLEL,
         false),
};
#define HOSTS (sizeof hosts / sizeof hosts[0])

const char *dialect_name(enum dialect d)
{
    switch (d) {
    case DIALECT_OPENAI:
        return "openai";
    case DIALECT_RESPONSES:
        return "responses";
    case DIALECT_ANTHROPIC:
        return "anthropic";
    case DIALECT_GEMINI:
        return "gemini";
    case DIALECT_BEDROCK:
        return "bedrock";
    case DIALECT_COHERE:
        return "cohere";
    case DIALECTS:
        break;
    }
    return "";
}

const struct host *host_find(struct str name)
{
    size_t from = 0, to = HOSTS;
    while (from < to) {
        size_t at = from + (to - from) / 2;
        int order = str_compare(name, hosts[at].name);
        if (order == 0)
            return &hosts[at];
        if (order < 0)
            to = at;
        else
            from = at + 1;
    }
    return NULL;
}

size_t host_count(void)
{
    return HOSTS;
}

const struct host *host_at(size_t index)
{
    return index < HOSTS ? &hosts[index] : NULL;
}

enum dialect host_dialect_for(const struct host *h, enum dialect caller)
{
    if (caller == DIALECT_RESPONSES && (h->serves & HOST_SERVES_RESPONSES) != 0)
        return DIALECT_RESPONSES;
    return h->dialect;
}

static bool has_word(struct str name, struct str word)
{
    return str_search(name, word) >= 0;
}

/* Names of OpenAI alone: others sell models called pro, too, at hosts that take their type. */
static bool lives_in_responses(struct str model)
{
    if (str_starts(model, STR("codex-")))
        return true;
    if (!str_starts(model, STR("gpt-")) &&
        (model.len < 2 || model.data[0] != 'o' || model.data[1] < '0' || model.data[1] > '9'))
        return false;
    return has_word(model, STR("-codex")) || has_word(model, STR("-deep-research")) ||
           has_word(model, STR("-pro-")) || str_ends(model, STR("-pro"));
}

enum dialect host_dialect_for_model(const struct host *h, enum dialect caller, struct str model)
{
    enum dialect d = host_dialect_for(h, caller);
    if (d == DIALECT_OPENAI && (h->quirks & HOST_QUIRK_RESPONSES_MODELS) != 0 &&
        lives_in_responses(model))
        return DIALECT_RESPONSES;
    return d;
}
