/* Addresses of clouds, which have a region in them. */
#include "common/hosts/hosts.h"

#define WORD_BYTES_MAX 63U

/* As it may stand in a host's name, or in a path. */
static bool is_word(struct str text, bool domain)
{
    if (text.len == 0 || text.len > WORD_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        if (!plain && !(domain && (c == '.' || c == ':')))
            return false;
    }
    return true;
}

/* One place stands for all of them, two for a continent. */
static int put_vertex(struct str region, struct str project, struct buf *out)
{
    int rc;
    if (str_is(region, "global"))
        rc = buf_append_text(out, "https://aiplatform.googleapis.com");
    else if (str_is(region, "us") || str_is(region, "eu"))
        rc = buf_printf(out, "https://aiplatform.%.*s.rep.googleapis.com", STR_ARG(region));
    else
        rc = buf_printf(out, "https://%.*s-aiplatform.googleapis.com", STR_ARG(region));
    return rc == 0 ? buf_printf(out, "/v1/projects/%.*s/locations/%.*s", STR_ARG(project),
                                STR_ARG(region))
                   : rc;
}

int host_address(const struct host *h, struct str region, struct str project, struct buf *out)
{
    const bool claude = str_is(h->name, "vertex-anthropic");
    if (str_is(h->name, "bedrock"))
        return is_word(region, false)
                   ? buf_printf(out, "https://bedrock-runtime.%.*s.amazonaws.com", STR_ARG(region))
                   : ERR_INVALID;
    if (!claude && !str_is(h->name, "vertex"))
        return ERR_UNSUPPORTED;
    if (region.len == 0)
        region = STR("global");
    if (!is_word(region, false) || !is_word(project, true))
        return ERR_INVALID;
    size_t begin = out->len;
    int rc = put_vertex(region, project, out);
    if (rc == 0 && claude)
        rc = buf_append_text(out, "/publishers/anthropic");
    if (rc != 0)
        out->len = begin;
    return rc;
}

struct str host_region(const struct host *h, struct str region, struct str model)
{
    static const struct str areas[] = {{"us-gov", 6}, {"us", 2},    {"eu", 2}, {"apac", 4},
                                       {"jp", 2},     {"au", 2},    {"ca", 2}, {"sa", 2},
                                       {"il", 2},     {"global", 6}};
    struct str area, rest;
    /* By its ARN a profile may be of any of them. */
    if (h->dialect == DIALECT_BEDROCK && str_starts(model, STR("arn:")))
        return STR("");
    if (h->dialect != DIALECT_BEDROCK || !str_cut(model, '.', &area, &rest))
        return region;
    for (size_t i = 0; i < sizeof areas / sizeof areas[0]; i++)
        if (str_eq(area, areas[i]))
            return areas[i];
    return region;
}
