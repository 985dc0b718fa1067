/* JSON Schema and reference page from the table of fields. */
#include "controlplane/config/table.h"

struct writer {
    struct buf *out;
    int status;
};

static void put(struct writer *w, const char *text)
{
    if (w->status == 0)
        w->status = buf_append_text(w->out, text);
}

static void put_string(struct writer *w, const char *text)
{
    put(w, "\"");
    for (const char *c = text; *c != '\0' && w->status == 0; c++) {
        if (*c == '"' || *c == '\\')
            put(w, "\\");
        w->status = w->status != 0 ? w->status : buf_append_char(w->out, *c);
    }
    put(w, "\"");
}

static void put_words(struct writer *w, const char *const *words)
{
    put(w, "[");
    for (size_t i = 0; words[i] != NULL; i++) {
        put(w, i == 0 ? "" : ",");
        put_string(w, words[i]);
    }
    put(w, "]");
}

static void schema_section(struct writer *w, const struct section *s);

static void schema_type(struct writer *w, const struct field *f)
{
    const char *hosts[TABLE_HOSTS_MAX + 1];
    switch (f->kind) {
    case FIELD_TEXT:
    case FIELD_SECRET:
        put(w, "\"type\":\"string\",\"minLength\":1");
        break;
    case FIELD_URL:
        put(w, "\"type\":\"string\",\"pattern\":\"^(https?://|os\\\\.environ/|\\\\$\\\\{)\"");
        break;
    case FIELD_DURATION:
        put(w, "\"type\":\"string\",\"pattern\":\"^([0-9]+(ms|s|m|h|d)|os\\\\.environ/"
               ".*|\\\\$\\\\{.*\\\\})$\"");
        break;
    case FIELD_DELAY:
        put(w, "\"type\":\"string\",\"pattern\":\"^(p95|[0-9]+(ms|s|m|h|d)|os\\\\.environ/"
               ".*|\\\\$\\\\{.*\\\\})$\"");
        break;
    case FIELD_MONEY:
        put(w, "\"type\":\"string\",\"pattern\":\"^([0-9]+(\\\\.[0-9]+)? "
               "USD|os\\\\.environ/.*|\\\\$\\\\{.*\\\\})$\"");
        break;
    case FIELD_BOOL:
        put(w, "\"type\":[\"boolean\",\"string\"]");
        break;
    case FIELD_NUMBER:
    case FIELD_SIZE:
        put(w, "\"type\":[\"integer\",\"string\"]");
        if (f->kind == FIELD_NUMBER && f->max > 0 && w->status == 0)
            w->status = buf_printf(w->out, ",\"minimum\":%llu,\"maximum\":%llu",
                                   (unsigned long long)f->min, (unsigned long long)f->max);
        break;
    case FIELD_SHARE:
    case FIELD_CHANCE:
        put(w, "\"type\":[\"number\",\"string\"],\"minimum\":0,\"maximum\":");
        if (f->max == 0)
            put(w, "1");
        else if (w->status == 0)
            w->status =
                buf_printf(w->out, "0.%06llu",
                           (unsigned long long)((f->max * 1000000 + UINT32_MAX / 2) / UINT32_MAX));
        break;
    case FIELD_WORD:
        put(w, "\"enum\":");
        put_words(w, f->words);
        break;
    case FIELD_HOST:
        table_hosts(hosts);
        put(w, "\"enum\":");
        put_words(w, hosts);
        break;
    case FIELD_PAIRS:
        put(w, "\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}");
        break;
    case FIELD_FLAGS:
        put(w, "\"type\":\"array\",\"items\":{\"enum\":");
        put_words(w, f->words);
        put(w, "}");
        break;
    case FIELD_TEXTS:
        put(w, "\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true");
        break;
    case FIELD_SECTION:
        schema_section(w, f->section);
        break;
    case FIELD_MAP:
        put(w, "\"type\":\"object\",\"additionalProperties\":{");
        schema_section(w, f->section);
        put(w, "}");
        break;
    case FIELD_LIST:
        put(w, "\"type\":\"array\",\"items\":{");
        schema_section(w, f->section);
        put(w, "}");
        break;
    case FIELD_NODE:
        put(w, "\"type\":\"object\"");
        break;
    }
}

static void schema_map(struct writer *w, const struct section *s)
{
    bool first = true;
    put(w, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (const struct field *f = s->fields; f->name != NULL; f++) {
        put(w, f == s->fields ? "" : ",");
        put_string(w, f->name);
        put(w, ":{\"description\":");
        put_string(w, f->help);
        put(w, ",");
        schema_type(w, f);
        put(w, "}");
    }
    put(w, "}");
    for (const struct field *f = s->fields; f->name != NULL; f++) {
        if (!f->required)
            continue;
        put(w, first ? ",\"required\":[" : ",");
        put_string(w, f->name);
        first = false;
    }
    put(w, first ? "" : "]");
}

/* A section that has a shorthand is that or a map. */
static void schema_section(struct writer *w, const struct section *s)
{
    if (s->shorthand == NULL) {
        schema_map(w, s);
        return;
    }
    put(w, "\"anyOf\":[{");
    schema_type(w, s->shorthand);
    put(w, "},{");
    schema_map(w, s);
    put(w, "}]");
}

int config_schema_json(struct buf *out)
{
    struct writer w = {.out = out};
    put(&w,
        "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":\"steelyard.yaml\",");
    schema_section(&w, &config_root_section);
    put(&w, "}\n");
    return w.status;
}

/* --- reference ---------------------------------------------------------------------------------
 */

static const char *kind_name(enum field_kind kind)
{
    switch (kind) {
    case FIELD_TEXT:
        return "text";
    case FIELD_SECRET:
        return "reference";
    case FIELD_URL:
        return "address";
    case FIELD_BOOL:
        return "true or false";
    case FIELD_NUMBER:
        return "number";
    case FIELD_DURATION:
        return "duration";
    case FIELD_DELAY:
        return "duration or p95";
    case FIELD_SIZE:
        return "size";
    case FIELD_MONEY:
        return "money";
    case FIELD_SHARE:
    case FIELD_CHANCE:
        return "0 to 1";
    case FIELD_WORD:
    case FIELD_HOST:
        return "word";
    case FIELD_FLAGS:
        return "list of words";
    case FIELD_TEXTS:
        return "list";
    case FIELD_PAIRS:
        return "map of texts";
    case FIELD_SECTION:
        return "section";
    case FIELD_MAP:
        return "map of sections";
    case FIELD_LIST:
        return "list of sections";
    case FIELD_NODE:
        return "map";
    }
    return "";
}

static void reference_words(struct writer *w, const struct field *f)
{
    const char *hosts[TABLE_HOSTS_MAX + 1];
    const char *const *words = f->words;
    if (f->kind == FIELD_HOST) {
        table_hosts(hosts);
        words = hosts;
    }
    if (words == NULL)
        return;
    put(w, " One of:");
    for (size_t i = 0; words[i] != NULL; i++) {
        put(w, i == 0 ? " `" : ", `");
        put(w, words[i]);
        put(w, "`");
    }
    put(w, ".");
}

static void reference_section(struct writer *w, const struct section *s)
{
    put(w, "\n## ");
    put(w, s->name);
    put(w, "\n\n");
    put(w, s->help);
    put(w, "\n\n| field | kind | default | example | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (const struct field *f = s->fields; f->name != NULL; f++) {
        put(w, "| `");
        put(w, f->name);
        put(w, "` | ");
        put(w, kind_name(f->kind));
        put(w, " | ");
        put(w, f->required ? "required" : (f->fallback == NULL ? "" : f->fallback));
        put(w, " | ");
        if (f->example != NULL) {
            put(w, "`");
            put(w, f->example);
            put(w, "`");
        }
        put(w, " | ");
        put(w, f->help);
        reference_words(w, f);
        put(w, " |\n");
    }
    for (const struct field *f = s->fields; f->name != NULL; f++) {
        if (f->section != NULL)
            reference_section(w, f->section);
    }
}

int config_reference_markdown(struct buf *out)
{
    struct writer w = {.out = out};
    put(&w,
        "# steelyard.yaml\n\nGenerated from the table that reads the file; a test compares "
        "them.\n\n"
        "Any single value may be `os.environ/NAME`, `${env:NAME}`, `${env:NAME:-default}` or "
        "`${file:/path}`. Durations: `250ms`, `30s`, `5m`, `2h`, `30d`. Sizes: `64KiB`, `4MiB`. "
        "Money: `0.15 USD`.\n");
    reference_section(&w, &config_root_section);
    return w.status;
}
