#include "tests/unit/dataplane/node/hedge_fixture.h"

#include <string.h>

#include "control.pb-c.h"

static Steelyard__Control__V1__Hedge terms = {
    .base = PROTOBUF_C_MESSAGE_INIT(&steelyard__control__v1__hedge__descriptor)};

uint32_t hedge_after_ms = HEDGE_AFTER_MS;

void hedge_route(void *route)
{
    terms.after_ms = hedge_after_ms;
    terms.max_share = HEDGE_FIVE;
    ((Steelyard__Control__V1__Route *)route)->hedge = &terms;
}

struct rig_options hedge_options(void)
{
    return (struct rig_options){.abort_stops_billing = true,
                                .way = WAY_ROUND_ROBIN,
                                .candidates = 1,
                                .small_twice = true,
                                .max_output = MAX_OUT,
                                .on_route = hedge_route};
}

/* Enough requests have been served for one to be hedged. */
void hedge_allow(struct rig *r)
{
    for (uint32_t i = 0; i < 20; i++)
        retry_budget_request(&r->shared.retries, 0, clock_mono_ms());
}

bool hedge_waits(struct rig *r)
{
    return !list_empty(&r->env.hedge_waits);
}

void hedge_due(struct rig *r)
{
    assert_true(hedge_waits(r));
    LIST_FOREACH (it, &r->env.hedge_waits)
        container_of(it, struct hedge_wait, link)->at_ms = 1;
    uv_timer_start(&r->env.hedge_timer, r->env.hedge_timer.timer_cb, 0, 0);
}

/* How often the node has counted this. */
unsigned hedge_counted(struct rig *r, const char *result)
{
    char line[96];
    struct buf out;
    uint64_t n = 0;
    snprintf(line, sizeof line, "steelyard_hedges_total{result=\"%s\"} ", result);
    buf_init(&out, 1 << 20);
    assert_int_equal(metrics_write(r->metrics, METRICS_PROMETHEUS, &out), 0);
    const ptrdiff_t at = str_search(buf_str(&out), str_from(line));
    for (const char *c = out.data + at + strlen(line); at >= 0 && *c >= '0' && *c <= '9'; c++)
        n = n * 10 + (uint64_t)(*c - '0');
    buf_deinit(&out);
    return (unsigned)n;
}

void hedge_settle_loop(struct rig *r)
{
    for (int i = 0; i < 40; i++)
        uv_run(&r->loop, UV_RUN_NOWAIT);
}

const char *hedge_text(int who)
{
    return who == 0 ? "from the first" : "from the second";
}

static void say_chunk(struct rig *r, size_t provider, const char *head, const char *text,
                      const char *tail)
{
    char out[2048];
    const int len = snprintf(out, sizeof out, "%s%zx\r\n%s\r\n%s", head, strlen(text), text, tail);
    assert_in_range(len, 1, sizeof out - 1);
    rig_say(r, provider, out, tail[0] != '\0');
}

static void say_whole(struct rig *r, size_t provider, const char *head, const char *body)
{
    char out[2048];
    const int len =
        snprintf(out, sizeof out, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
    assert_in_range(len, 1, sizeof out - 1);
    rig_say(r, provider, out, true);
}

void hedge_say(struct rig *r, size_t provider, int who, char what, bool headed)
{
    char text[1024];
    switch (what) {
    case 'H':
        say_chunk(r, provider, SSE_HEAD, EV_ROLE, "");
        break;
    case 'T':
        snprintf(text, sizeof text,
                 "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                 "\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                 "\"finish_reason\":null}]}\n\n",
                 hedge_text(who));
        say_chunk(r, provider, "", text, "");
        break;
    case 'E':
        say_chunk(r, provider, "", EV_STOP EV_USAGE EV_DONE, "0\r\n\r\n");
        break;
    case 'W':
        snprintf(text, sizeof text,
                 "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"up\","
                 "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                 "\"%s\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,"
                 "\"completion_tokens\":5,\"total_tokens\":15}}",
                 hedge_text(who));
        say_whole(r, provider, JSON_HEAD, text);
        break;
    case 'B':
        snprintf(text, sizeof text, "{\"error\":{\"message\":\"%s\"}}", hedge_text(who));
        say_whole(r, provider, "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\n", text);
        break;
    default:
        if (headed)
            rig_cut(r, provider);
        else
            rig_say(r, provider, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", true);
    }
}

void hedge_forget_failures(struct rig *r)
{
    struct upstream_view *v = upstream_pin(&r->env.upstream);
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++) {
        breaker_init(&v->targets[i].endpoint->breaker);
        atomic_store(&v->targets[i].endpoint->shared->cooldown_until_ms, 0);
    }
    upstream_unpin(&r->env.upstream, v);
    memset(&r->shared.retries, 0, sizeof r->shared.retries);
    hedge_allow(r);
}
