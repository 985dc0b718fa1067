/* Who asks: the operator key, or an api_key row with a role. */
#include <stdio.h>
#include <string.h>

#include "controlplane/admin/call.h"

static const char *const role_names[] = {"none", "viewer", "operator", "admin"};

const char *auth_role_name(enum admin_role role)
{
    return role_names[role];
}

static enum admin_role role_of(struct str name)
{
    for (unsigned i = ROLE_VIEWER; i <= ROLE_ADMIN; i++) {
        if (str_is(name, role_names[i]))
            return (enum admin_role)i;
    }
    return ROLE_NONE;
}

/* "sk-sy-<public id>-<secret>": the public id; empty when it has another shape. */
static struct str public_id_of(struct str text)
{
    struct str id, secret;
    if (!str_starts(text, STR("sk-sy-")) || text.len > 256)
        return STR_NULL;
    text = str_slice(text, 6, text.len);
    if (!str_cut(text, '-', &id, &secret) || id.len == 0 || id.len >= CALL_PARAM_BYTES ||
        secret.len == 0)
        return STR_NULL;
    return id;
}

bool auth_read(struct admin_call *call, struct str header, bool *out_operator)
{
    struct str expected = secret_get(call->config->key);
    struct str given =
        str_starts(header, STR("Bearer ")) ? str_slice(header, 7, header.len) : STR_NULL;
    /* Digests are compared, so neither length nor content decides how long it takes. */
    struct sha256 want = digest_sha256(expected.data, expected.len);
    call->given = digest_sha256(given.data, given.len);
    bool equal = digest_equal(call->given.bytes, want.bytes, SHA256_BYTES);
    *out_operator = equal && expected.len > 0 && given.len > 0;
    if (*out_operator) {
        call->caller.role = ROLE_ADMIN;
        snprintf(call->caller.name, sizeof call->caller.name, "operator");
        return true;
    }
    /* Kept where the first parameter of the path will be. */
    return str_copy(public_id_of(given), call->param[0], CALL_PARAM_BYTES) &&
           call->param[0][0] != '\0' && str_valid_utf8(str_from(call->param[0]));
}

int auth_find(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct admin_caller *who = &call->caller;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct buf sum = {0};
    pq_params_text(&p, str_from(call->param[0]));
    int rc = pq_conn_query(
        c,
        "SELECT k.sha256, k.role, k.id, k.org_id, k.team_id, k.user_id, "
        "coalesce(k.prev_sha256, k.sha256), k.prev_until > now() FROM api_key k "
        "LEFT JOIN account t ON t.id = k.team_id LEFT JOIN account o ON o.id = k.org_id "
        "LEFT JOIN account u ON u.id = k.user_id "
        "WHERE k.public_id = $1 AND k.role IS NOT NULL AND NOT k.disabled AND k.removed IS NULL "
        "AND (k.expires IS NULL OR k.expires > now()) AND NOT coalesce(t.disabled, false) "
        "AND NOT coalesce(o.disabled, false) AND NOT coalesce(u.disabled, false)",
        &p, &r, err);
    if (rc != 0)
        return rc;
    buf_init(&sum, (size_t)2 * SHA256_BYTES);
    bool good = pq_result_rows(r) == 1;
    if (good)
        rc = pq_result_bytes(r, 0, 0, &sum) | pq_result_bytes(r, 0, 6, &sum);
    if (rc == 0 && good) {
        bool now = digest_equal(call->given.bytes, sum.data, SHA256_BYTES);
        bool before = digest_equal(call->given.bytes, sum.data + SHA256_BYTES, SHA256_BYTES);
        good = now || (before && pq_result_bool(r, 0, 7));
    }
    if (rc != 0)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    else if (!good)
        rc = err_set(err, ERR_UNAUTHENTICATED, "a valid operator key is needed");
    if (rc == 0) {
        who->role = role_of(pq_result_text(r, 0, 1));
        who->id = pq_result_i64(r, 0, 2);
        who->org = pq_result_i64(r, 0, 3);
        who->team = pq_result_i64(r, 0, 4);
        who->user = pq_result_i64(r, 0, 5);
        snprintf(who->name, sizeof who->name, "key:%s", call->param[0]);
    }
    call->param[0][0] = '\0';
    buf_deinit(&sum);
    pq_result_destroy(r);
    return rc;
}

int auth_allow(const struct admin_call *call, struct err *err)
{
    const struct admin_caller *who = &call->caller;
    if (who->role < call->route->role)
        return err_set(err, ERR_DENIED, "this needs the role %s; the credential is a %s",
                       auth_role_name(call->route->role), auth_role_name(who->role));
    if (caller_is_bound(who) && !call->route->scoped)
        return err_set(err, ERR_DENIED,
                       "this is about more than the team, organisation or user that the "
                       "credential belongs to");
    return 0;
}
