/* One node's Rates.Share stream: a report goes to the splitter and its answer down again, at once.
 * No answer is a state, too (the plane still learns, docs/decisions/0155): the node reports on. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "controlplane/nodes/nodes_internal.h"
#include "rates.pb-c.h"

typedef Steelyard__Rates__V1__RateUp RateUp;
typedef Steelyard__Rates__V1__RateDown RateDown;
typedef Steelyard__Rates__V1__RateDemand RateDemand;
typedef Steelyard__Rates__V1__RateShare RateShare;

struct rates_peer {
    struct list link; /* Of nodes->rates_peers. */
    struct nodes *nodes;
    struct rpc_stream *stream;
    struct node_entry *entry; /* NULL before hello. */
    struct rates_key key;
    uint64_t expires_ms;
};

static int send_answer(struct rates_peer *p, const struct rates_answer *a)
{
    RateDown down = STEELYARD__RATES__V1__RATE_DOWN__INIT;
    RateShare *shares = mem_calloc((size_t)a->count + 1, sizeof(*shares));
    RateShare **list = mem_calloc((size_t)a->count + 1, sizeof(*list));
    int rc = shares != NULL && list != NULL ? 0 : ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < a->count; i++) {
        steelyard__rates__v1__rate_share__init(&shares[i]);
        shares[i].account = a->shares[i].account;
        shares[i].requests = a->shares[i].share[0];
        shares[i].tokens = a->shares[i].share[1];
        shares[i].concurrency = a->shares[i].share[2];
        list[i] = &shares[i];
    }
    if (rc == 0) {
        down.report_no = a->report_no;
        down.answer_no = a->answer_no;
        down.term = a->term;
        down.safe = a->safe;
        down.nodes = a->nodes;
        down.shares = list;
        down.n_shares = a->count;
        rc = rpc_stream_send(p->stream, &down.base);
    }
    mem_free(list);
    mem_free(shares);
    return rc;
}

static int on_hello(struct rates_peer *p, const Steelyard__Rates__V1__RateHello *hello)
{
    struct uuid id;
    int code = p->entry != NULL ? RPC_INVALID : nodes_check_id(p->stream, hello->node_id);
    if (code == 0 && (uuid_parse(str_from(hello->node_id), &id) != 0 || hello->life == 0))
        code = RPC_INVALID;
    if (code != 0)
        return code;
    p->entry = nodes_entry(p->nodes, hello->node_id);
    if (p->entry == NULL)
        return RPC_EXHAUSTED;
    memcpy(p->key.node, id.bytes, sizeof(p->key.node));
    p->key.life = hello->life;
    if (p->entry->rates != NULL) {
        struct rates_peer *old = p->entry->rates;
        old->entry = NULL;
        rpc_stream_cancel(old->stream, RPC_CANCELLED, "replaced by a newer stream");
    }
    p->entry->rates = p;
    return 0;
}

/* 0 or an RPC code. */
static int take_report(struct rates_peer *p, const RateUp *m)
{
    struct rates_answer answer;
    uint32_t count = (uint32_t)(m->n_demands < RATES_SHARES_MAX ? m->n_demands : RATES_SHARES_MAX);
    struct rates_demand *demands = mem_calloc((size_t)count + 1, sizeof(*demands));
    if (demands == NULL)
        return RPC_EXHAUSTED;
    for (uint32_t i = 0; i < count; i++)
        demands[i] = (struct rates_demand){
            .account = m->demands[i]->account,
            .want = {m->demands[i]->requests, m->demands[i]->tokens, m->demands[i]->concurrency},
            .held = m->demands[i]->held};
    const struct rates_report report = {.key = p->key,
                                        .report_no = m->report_no,
                                        .term = m->term,
                                        .applied = m->applied,
                                        .safe = m->safe,
                                        .nodes = m->nodes,
                                        .leaving = m->leaving,
                                        .count = count,
                                        .demands = demands};
    int rc = rates_report(p->nodes->rates, &report, clock_mono_ms(), &answer);
    mem_free(demands);
    if (rc == 1)
        rc = send_answer(p, &answer);
    if (rc == 0)
        return 0;
    return rc == ERR_INVALID ? RPC_INVALID : rc == ERR_CONFLICT ? RPC_UNAVAILABLE : RPC_EXHAUSTED;
}

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *base, void *user)
{
    struct rates_peer *p = user;
    const RateUp *m = (const RateUp *)base;
    int code = p->nodes->rates == NULL ? RPC_UNAVAILABLE : 0;
    if (code == 0 && m->hello != NULL)
        code = on_hello(p, m->hello);
    if (code == 0 && (p->entry == NULL || p->entry->rates != p))
        code = RPC_INVALID;
    if (code == 0)
        code = take_report(p, m);
    if (code != 0)
        rpc_stream_cancel(stream, code, "report refused");
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    (void)stream;
    (void)status;
    struct rates_peer *p = user;
    if (p->entry != NULL && p->entry->rates == p)
        p->entry->rates = NULL;
    list_remove(&p->link);
    mem_free(p);
}

static const struct rpc_stream_events rates_events = {
    .on_message = on_message, .on_end = nodes_stream_end, .on_close = on_close};

void rates_peer_accept(struct nodes *n, struct rpc_stream *stream)
{
    struct rates_peer *p = n->rates != NULL ? mem_zalloc(sizeof(*p)) : NULL;
    if (p == NULL) {
        rpc_stream_cancel(stream, n->rates != NULL ? RPC_EXHAUSTED : RPC_UNAVAILABLE,
                          "rates are shared out by another control plane");
        return;
    }
    p->nodes = n;
    p->stream = stream;
    p->expires_ms = nodes_stream_expiry(n);
    list_push_back(&n->rates_peers, &p->link);
    rpc_stream_set_user(stream, &rates_events, p);
}

void rates_peers_tick(struct nodes *n)
{
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &n->rates_peers) {
        struct rates_peer *p = container_of(it, struct rates_peer, link);
        if (now_ms >= p->expires_ms)
            rpc_stream_finish(p->stream, RPC_OK, "streams are spread again");
    }
}

void rates_peers_end(struct nodes *n)
{
    LIST_FOREACH_SAFE (it, tmp, &n->rates_peers)
        rpc_stream_finish(container_of(it, struct rates_peer, link)->stream, RPC_OK,
                          "this control plane is ending");
}

int nodes_lead_rates(struct nodes *n, uint64_t term, bool first)
{
    struct rates *now = term != 0 ? rates_create(term, first, clock_mono_ms()) : NULL;
    rates_destroy(n->rates);
    n->rates = now;
    LIST_FOREACH_SAFE (it, tmp, &n->rates_peers) {
        struct rates_peer *p = container_of(it, struct rates_peer, link);
        rpc_stream_cancel(p->stream, RPC_UNAVAILABLE,
                          "rates are shared out by another control plane");
    }
    return now != NULL || term == 0 ? 0 : ERR_NOMEM;
}
