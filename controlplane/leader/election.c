/* What is asked next, and what an answer means. The lease comes first, then keep-alives on time;
 * beside them one question at a time: leave, enter, or list. */
#include "controlplane/leader/election.h"

#include <string.h>

#define RETRY_MS 500U
#define UNEVEN   2U /* Roles: one more is as even as four of them over three can be. */

struct election_config election_config_of(uint32_t ttl_ms, unsigned first_role)
{
    return (struct election_config){.ttl_ms = ttl_ms,
                                    .keepalive_ms = ttl_ms / 10 * 3,
                                    .trust_ms = ttl_ms / 10 * 7,
                                    .poll_ms = ttl_ms / 10,
                                    .answer_ms = ttl_ms / 5,
                                    .rebalance_ms = ttl_ms * 3,
                                    .pause_ms = ttl_ms / 5,
                                    .first_role = first_role % LEADER_ROLES};
}

void election_init(struct election *e, const struct election_config *config, uint64_t now_ms)
{
    memset(e, 0, sizeof *e);
    e->config = *config;
    e->next_ask_ms = now_ms;
}

static void session_reset(struct election *e, uint64_t now_ms)
{
    e->session = SESSION_NONE;
    e->lease = 0;
    e->next_ask_ms = now_ms;
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        e->roles[i].place = PLACE_OUT;
        e->roles[i].revision = 0;
        e->roles[i].uneven_ms = 0;
    }
}

static uint64_t trusted_until(const struct election *e)
{
    return e->confirmed_ms + e->config.trust_ms;
}

int64_t election_owned(const struct election *e, enum leader_role role, uint64_t now_ms)
{
    bool trusted = e->session == SESSION_HELD && now_ms < trusted_until(e);
    return trusted && e->roles[role].place == PLACE_OWNER ? e->roles[role].revision : 0;
}

static unsigned owned_count(const struct election *e)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        count += e->roles[i].place == PLACE_OWNER;
    return count;
}

/* --- asking ------------------------------------------------------------------------------------
 */

static bool find_place(const struct election *e, enum election_place place, uint64_t now_ms,
                       enum leader_role *out_role)
{
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        unsigned role = (e->config.first_role + i) % LEADER_ROLES;
        if (e->roles[role].place != place || now_ms < e->roles[role].not_before_ms)
            continue;
        *out_role = (enum leader_role)role;
        return true;
    }
    return false;
}

static bool next_of_held(struct election *e, uint64_t now_ms, struct election_op *op)
{
    op->lease = e->lease;
    if (find_place(e, PLACE_LEAVING, now_ms, &op->role)) {
        op->ask = ELECTION_LEAVE;
        op->revision = e->roles[op->role].revision;
    } else if (find_place(e, PLACE_ENTERING, now_ms, &op->role) ||
               (now_ms >= e->next_enter_ms && find_place(e, PLACE_OUT, now_ms, &op->role))) {
        op->ask = ELECTION_ENTER;
        e->roles[op->role].place = PLACE_ENTERING;
    } else if (now_ms >= e->next_list_ms) {
        op->ask = ELECTION_LIST;
    } else {
        return false;
    }
    return true;
}

bool election_next(struct election *e, uint64_t now_ms, struct election_op *out_op)
{
    struct election_op op = {.sent_ms = now_ms};
    if (e->session == SESSION_HELD && !e->beating && now_ms >= e->next_beat_ms) {
        op.ask = ELECTION_KEEPALIVE;
        op.lease = e->lease;
        e->beating = true;
        e->next_beat_ms = now_ms + e->config.keepalive_ms;
        *out_op = op;
        return true;
    }
    if (e->asking || now_ms < e->next_ask_ms)
        return false;
    bool any = false;
    switch (e->session) {
    case SESSION_NONE:
        op.ask = ELECTION_GRANT;
        e->session = SESSION_GRANTING;
        any = true;
        break;
    case SESSION_GRANTING:
        break;
    case SESSION_HELD:
        any = next_of_held(e, now_ms, &op);
        break;
    }
    e->asking = any;
    if (any)
        *out_op = op;
    return any;
}

uint64_t election_wake_ms(const struct election *e, uint64_t now_ms)
{
    uint64_t wake = now_ms + e->config.poll_ms;
    if (e->session == SESSION_HELD && !e->beating && e->next_beat_ms < wake)
        wake = e->next_beat_ms;
    if (!e->asking && e->next_ask_ms > now_ms && e->next_ask_ms < wake)
        wake = e->next_ask_ms;
    if (!e->asking && e->session == SESSION_HELD && e->next_list_ms > now_ms &&
        e->next_list_ms < wake)
        wake = e->next_list_ms;
    /* The end of trust is an event, too: the role has to be laid down. */
    if (owned_count(e) > 0 && trusted_until(e) > now_ms && trusted_until(e) < wake)
        wake = trusted_until(e);
    return wake > now_ms ? wake : now_ms + 1;
}

/* --- answers ------------------------------------------------------------------------------------
 */

static void on_grant(struct election *e, const struct election_op *op,
                     const struct election_answer *a, uint64_t now_ms)
{
    if (e->session != SESSION_GRANTING)
        return;
    if (a->status != 0 || a->lease == 0) {
        session_reset(e, now_ms + RETRY_MS);
        return;
    }
    e->session = SESSION_HELD;
    e->lease = a->lease;
    e->confirmed_ms = op->sent_ms;
    e->next_beat_ms = op->sent_ms + e->config.keepalive_ms;
    e->next_list_ms = now_ms;
    e->next_enter_ms = now_ms;
}

static void on_keepalive(struct election *e, const struct election_op *op,
                         const struct election_answer *a, uint64_t now_ms)
{
    if (a->status == ERR_NOT_FOUND || (a->status == 0 && a->ttl_s <= 0)) {
        session_reset(e, now_ms);
    } else if (a->status == 0) {
        e->confirmed_ms = op->sent_ms;
    } else if (e->next_beat_ms > now_ms + RETRY_MS) {
        e->next_beat_ms = now_ms + RETRY_MS; /* Not confirmed: at once rather than on time. */
    }
}

/* The keys of a role come by rising create_revision: the first is the owner's. True: a role that we
 * are not in had an owner and has none now. */
static bool take_list(struct election *e, const struct election_answer *a)
{
    bool owned[LEADER_ROLES] = {0}, seen[LEADER_ROLES] = {0};
    int64_t ours[LEADER_ROLES] = {0};
    bool vacant = false;
    for (uint32_t i = 0; i < a->key_count; i++) {
        const struct election_key *k = &a->keys[i];
        if (k->lease == e->lease) {
            ours[k->role] = k->create_revision;
            owned[k->role] = !seen[k->role];
        }
        seen[k->role] = true;
    }
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        vacant = vacant || (e->roles[i].place == PLACE_OUT && e->roles[i].had_owner && !seen[i]);
        e->roles[i].had_owner = seen[i];
        if (e->roles[i].place != PLACE_IN && e->roles[i].place != PLACE_OWNER)
            continue;
        e->roles[i].revision = ours[i];
        e->roles[i].place = ours[i] == 0 ? PLACE_OUT : (owned[i] ? PLACE_OWNER : PLACE_IN);
    }
    return vacant;
}

/* Of a list: the first key of each role is its owner's. */
static unsigned owned_by(const struct election_answer *a, int64_t lease)
{
    bool seen[LEADER_ROLES] = {0};
    unsigned count = 0;
    for (uint32_t i = 0; i < a->key_count; i++) {
        count += !seen[a->keys[i].role] && a->keys[i].lease == lease;
        seen[a->keys[i].role] = true;
    }
    return count;
}

static void take_evenness(struct election *e, const struct election_answer *a, uint64_t now_ms)
{
    bool after_us[LEADER_ROLES] = {0}, uneven[LEADER_ROLES] = {0};
    unsigned ours = owned_by(a, e->lease);
    for (uint32_t i = 0; ours >= UNEVEN && i < a->key_count; i++) {
        const struct election_key *k = &a->keys[i];
        if (after_us[k->role])
            uneven[k->role] = owned_by(a, k->lease) + UNEVEN <= ours;
        after_us[k->role] = k->lease == e->lease;
    }
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        if (!uneven[i])
            e->roles[i].uneven_ms = 0;
        else if (e->roles[i].uneven_ms == 0)
            e->roles[i].uneven_ms = now_ms;
    }
}

bool election_is_surplus(const struct election *e, enum leader_role role, uint64_t now_ms)
{
    uint64_t since_ms = e->roles[role].uneven_ms;
    return e->session == SESSION_HELD && since_ms != 0 &&
           now_ms - since_ms >= e->config.rebalance_ms;
}

static void on_list(struct election *e, const struct election_answer *a, uint64_t now_ms)
{
    unsigned before = owned_count(e);
    e->next_list_ms = now_ms + e->config.poll_ms;
    if (a->status != 0)
        return;
    bool vacant = take_list(e, a);
    take_evenness(e, a, now_ms);
    unsigned after = owned_count(e);
    if (vacant)
        e->next_enter_ms = now_ms; /* Sharing can wait. */
    else if (after > before)       /* Others may take the next one. */
        e->next_enter_ms = now_ms + (uint64_t)e->config.pause_ms * after;
}

static void on_entered(struct election *e, const struct election_op *op,
                       const struct election_answer *a, uint64_t now_ms)
{
    if (a->status != 0) {
        e->next_ask_ms = now_ms + RETRY_MS;
        return; /* Still ENTERING: the key may be there; putting it again changes nothing. */
    }
    e->roles[op->role].place = PLACE_IN;
    e->next_list_ms = now_ms; /* Whose is it? Before the next role is entered. */
    e->next_enter_ms = now_ms + 1;
}

static void on_left(struct election *e, const struct election_op *op,
                    const struct election_answer *a, uint64_t now_ms)
{
    if (a->status != 0) {
        e->next_ask_ms = now_ms + RETRY_MS;
        return; /* Still LEAVING: it is deleted only as it was. */
    }
    e->roles[op->role].place = PLACE_OUT;
    e->roles[op->role].revision = 0;
    e->roles[op->role].not_before_ms = now_ms + e->roles[op->role].again_ms;
}

void election_answer(struct election *e, const struct election_op *op,
                     const struct election_answer *answer, uint64_t now_ms)
{
    if (op->ask == ELECTION_KEEPALIVE)
        e->beating = false;
    else
        e->asking = false;
    if (op->ask == ELECTION_GRANT) {
        on_grant(e, op, answer, now_ms);
        return;
    }
    if (e->session != SESSION_HELD || op->lease != e->lease)
        return; /* Of a session that is over. */
    if (op->ask != ELECTION_KEEPALIVE && answer->status == ERR_NOT_FOUND) {
        session_reset(e, now_ms);
        return;
    }
    switch (op->ask) {
    case ELECTION_GRANT:
        break;
    case ELECTION_KEEPALIVE:
        on_keepalive(e, op, answer, now_ms);
        break;
    case ELECTION_ENTER:
        on_entered(e, op, answer, now_ms);
        break;
    case ELECTION_LIST:
        on_list(e, answer, now_ms);
        break;
    case ELECTION_LEAVE:
        on_left(e, op, answer, now_ms);
        break;
    }
}

void election_leave(struct election *e, enum leader_role role, uint64_t again_ms, uint64_t now_ms)
{
    if (e->session != SESSION_HELD ||
        (e->roles[role].place != PLACE_OWNER && e->roles[role].place != PLACE_IN))
        return;
    e->roles[role].place = PLACE_LEAVING;
    e->roles[role].not_before_ms = now_ms;
    e->roles[role].again_ms = again_ms;
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        e->roles[i].uneven_ms = 0; /* One at a time: what is left is weighed anew. */
}
