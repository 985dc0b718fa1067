#include "deploy/simulator/reply.h"

#include <stdio.h>

#include "common/base/clock.h"

static const char *const filler[] = {
    "this",  "follows", "from",  "what",   "was",  "given", "so",    "first", "look",  "at",
    "each",  "part",    "then",  "put",    "them", "in",    "order", "and",   "check", "that",
    "every", "step",    "holds", "before", "the",  "next",  "one",   "is",    "taken", "slowly",
};

static void add_word(struct reply *r, const char *lead, const char *word)
{
    size_t len = r->words > 0 ? r->word_end[r->words - 1] : 0;
    if (r->words == REPLY_WORDS_MAX)
        return;
    int n = snprintf(r->text + len, sizeof(r->text) - len, "%s%s", lead, word);
    if (n < 0 || (size_t)n >= sizeof(r->text) - len)
        return;
    r->word_end[r->words++] = (uint16_t)(len + (size_t)n);
}

/* Splits at spaces, so that a long answer is several tokens. */
static void add_words(struct reply *r, struct str text)
{
    char word[TASK_ANSWER_BYTES];
    struct str rest = text, head;
    bool more = true;
    while (more) {
        more = str_cut(rest, ' ', &head, &rest);
        if (str_copy(head, word, sizeof(word)))
            add_word(r, " ", word);
    }
}

void reply_compose(const struct sim_model *m, const struct sim_reply *answer, uint32_t max_tokens,
                   uint32_t tokens_in, uint64_t number, struct reply *out)
{
    const size_t filler_count = sizeof(filler) / sizeof(filler[0]);
    out->model = m->id;
    out->created_s = clock_wall_us() / 1000000;
    out->words = 0;
    out->tokens_in = tokens_in;
    out->with_usage = true;
    out->choices = 1;
    out->machine = 0;
    snprintf(out->id, sizeof(out->id), "chatcmpl-sim-%016llx", (unsigned long long)number);
    if (answer->nonce[0] != '\0')
        add_word(out, "", answer->nonce);
    if (!answer->known)
        add_words(out, STR("(simulated provider) I only know sums, dates, words, units, tables and "
                           "orders; ask me What is 12 + 30?"));
    /* A task that is harder takes more words; the same task always as many. */
    uint32_t count = answer->known ? m->words + m->words * answer->solution.difficulty / 4 : 0;
    for (uint32_t i = 0; i < count && i + 20 < REPLY_WORDS_MAX; i++)
        add_word(out, out->words > 0 ? " " : "", filler[(i * 7 + m->words) % filler_count]);
    add_word(out, out->words > 0 ? "\n" : "", "Answer:");
    add_words(out, str_from(answer->answer));
    out->cut_by_limit = max_tokens > 0 && out->words > max_tokens;
    if (out->cut_by_limit)
        out->words = max_tokens;
}

struct str reply_words(const struct reply *r, unsigned from, unsigned to)
{
    size_t start = from > 0 ? r->word_end[from - 1] : 0;
    size_t end = to > 0 ? r->word_end[to - 1] : 0;
    return (struct str){.data = r->text + start, .len = end - start};
}

/* The texts here hold no quote, backslash or control byte but the line end. */
static int write_text(struct str text, struct buf *out)
{
    int rc = buf_append_char(out, '"');
    for (size_t i = 0; rc == 0 && i < text.len; i++)
        rc = text.data[i] == '\n'                          ? buf_append_text(out, "\\n")
             : text.data[i] == '"' || text.data[i] == '\\' ? buf_printf(out, "\\%c", text.data[i])
                                                           : buf_append_char(out, text.data[i]);
    return rc != 0 ? rc : buf_append_char(out, '"');
}

static int write_usage(const struct reply *r, struct buf *out)
{
    return buf_printf(out,
                      "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,"
                      "\"total_tokens\":%u,\"prompt_tokens_details\":{\"cached_tokens\":0}}",
                      r->tokens_in, r->words * r->choices, r->tokens_in + r->words * r->choices);
}

static int write_head(const struct reply *r, const char *object, struct buf *out)
{
    int rc = buf_printf(out,
                        "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":\"%s\","
                        "\"system_fingerprint\":\"" REPLY_FINGERPRINT,
                        r->id, object, (long long)r->created_s, r->model);
    if (rc == 0 && r->machine > 0)
        rc = buf_printf(out, ".%u", r->machine);
    return rc == 0 ? buf_append_text(out, "\",\"choices\":") : rc;
}

static const char *finish_reason(const struct reply *r)
{
    return r->cut_by_limit ? "length" : "stop";
}

static int write_choice(const struct reply *r, uint32_t choice, struct buf *out)
{
    int rc = buf_printf(out,
                        "%s{\"index\":%u,\"message\":{\"role\":\"assistant\","
                        "\"refusal\":null,\"content\":",
                        choice > 0 ? "," : "", choice);
    if (rc == 0)
        rc = write_text(reply_words(r, 0, r->words), out);
    return rc != 0
               ? rc
               : buf_printf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}", finish_reason(r));
}

int reply_write_whole(const struct reply *r, struct buf *out)
{
    int rc = write_head(r, "chat.completion", out);
    if (rc == 0)
        rc = buf_append_char(out, '[');
    for (uint32_t i = 0; rc == 0 && i < r->choices; i++)
        rc = write_choice(r, i, out);
    if (rc == 0)
        rc = buf_append_char(out, ']');
    if (rc == 0 && r->with_usage)
        rc = buf_append_char(out, ',');
    if (rc == 0 && r->with_usage)
        rc = write_usage(r, out);
    return rc != 0 ? rc : buf_append_char(out, '}');
}

static int write_chunk(const struct reply *r, uint32_t choice, unsigned word, bool usage_null,
                       struct buf *out)
{
    int rc = buf_append_text(out, "data: ");
    if (rc == 0)
        rc = write_head(r, "chat.completion.chunk", out);
    if (rc == 0)
        rc = buf_printf(out, "[{\"index\":%u,\"delta\":{%s\"content\":", choice,
                        word == 0 ? "\"role\":\"assistant\"," : "");
    if (rc == 0)
        rc = write_text(reply_words(r, word, word + 1), out);
    if (rc == 0)
        rc = buf_printf(out, "},\"logprobs\":null,\"finish_reason\":null}]%s}\n\n",
                        usage_null ? ",\"usage\":null" : "");
    return rc;
}

int reply_write_chunks(const struct reply *r, unsigned word, bool usage_null, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < r->choices; i++)
        rc = write_chunk(r, i, word, usage_null, out);
    return rc;
}

static int write_reason(const struct reply *r, uint32_t choice, bool usage_null, struct buf *out)
{
    int rc = buf_append_text(out, "data: ");
    if (rc == 0)
        rc = write_head(r, "chat.completion.chunk", out);
    if (rc == 0)
        rc = buf_printf(out,
                        "[{\"index\":%u,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"%s\"}]"
                        "%s}\n\n",
                        choice, finish_reason(r), usage_null ? ",\"usage\":null" : "");
    return rc;
}

int reply_write_finish(const struct reply *r, bool include_usage, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < r->choices; i++)
        rc = write_reason(r, i, include_usage, out);
    if (rc == 0 && include_usage) {
        rc = buf_append_text(out, "data: ");
        if (rc == 0)
            rc = write_head(r, "chat.completion.chunk", out);
        if (rc == 0)
            rc = buf_append_text(out, "[],");
        if (rc == 0)
            rc = write_usage(r, out);
        if (rc == 0)
            rc = buf_append_text(out, "}\n\n");
    }
    return rc != 0 ? rc : buf_append_text(out, "data: [DONE]\n\n");
}

int reply_write_error(const char *type, const char *code, const char *message, struct buf *out)
{
    return buf_printf(out,
                      "{\"error\":{\"message\":\"%s (simulated provider)\",\"type\":\"%s\","
                      "\"param\":null,\"code\":\"%s\"}}",
                      message, type, code);
}

int reply_write_models(struct buf *out)
{
    int rc = buf_append_text(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; rc == 0 && i < SIM_MODEL_COUNT; i++)
        rc = buf_printf(out,
                        "%s{\"id\":\"%s\",\"object\":\"model\",\"created\":1700000000,"
                        "\"owned_by\":\"steelyard-simulator\",\"simulated\":true,"
                        "\"description\":\"%s\"}",
                        i > 0 ? "," : "", sim_models[i].id, sim_models[i].summary);
    return rc != 0 ? rc : buf_append_text(out, "]}");
}
