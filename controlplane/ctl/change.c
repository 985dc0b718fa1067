#include "controlplane/ctl/change.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/query.h"

static json_t *list_of(const char *text)
{
    json_t *list = json_array();
    struct str rest = str_from(text), head;
    bool more = true;
    while (more) {
        more = str_cut(rest, ',', &head, &rest);
        head = str_trim(head);
        if (head.len > 0)
            json_array_append_new(list, json_stringn(head.data, head.len));
    }
    return list;
}

enum ctl_exit change_body(struct ctl *c, const struct change_field *fields, json_t **out_body)
{
    json_t *body = json_object();
    for (const struct change_field *f = fields; f != NULL && f->flag != NULL; f++) {
        uint64_t number;
        const char *text = invocation_takes(&c->in, f->flag) ? ctl_text(c, f->flag) : NULL;
        if (text == NULL)
            continue;
        if (strcmp(text, "none") == 0 && f->kind != CHANGE_BOOL) {
            json_object_set_new(body, f->field, json_null());
            continue;
        }
        switch (f->kind) {
        case CHANGE_TEXT:
            json_object_set_new(body, f->field, json_string(text));
            break;
        case CHANGE_LIST:
            json_object_set_new(body, f->field, list_of(text));
            break;
        case CHANGE_NUMBER:
            if (str_parse_u64(str_from(text), INT64_MAX, &number) != 0) {
                json_decref(body);
                return ctl_fail(c, CTL_USAGE, "--%s: '%s' is not a whole number", f->flag, text);
            }
            json_object_set_new(body, f->field, json_integer((json_int_t)number));
            break;
        case CHANGE_BOOL:
            if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
                json_decref(body);
                return ctl_fail(c, CTL_USAGE, "--%s: '%s' is neither true nor false", f->flag,
                                text);
            }
            json_object_set_new(body, f->field, json_boolean(strcmp(text, "true") == 0));
            break;
        }
    }
    if (ctl_text(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    if (ctl_bool(c, "dry-run"))
        json_object_set_new(body, "dry_run", json_true());
    if (invocation_takes(&c->in, "wait")) {
        uint64_t wait_ms = ctl_u64(c, "wait");
        json_object_set_new(body, "wait", json_sprintf("%llums", (unsigned long long)wait_ms));
        c->timeout_ms += wait_ms; /* The answer may come that much later. */
    }
    *out_body = body;
    return CTL_OK;
}

enum ctl_exit change_confirm(struct ctl *c, const char *format, ...)
{
    char question[256], answer[16];
    va_list args;
    if (ctl_bool(c, "yes") || ctl_bool(c, "dry-run"))
        return CTL_OK;
    if (!isatty(STDIN_FILENO))
        return ctl_fail(c, CTL_USAGE, "this cannot be taken back: give --yes");
    va_start(args, format);
    (void)vsnprintf(question, sizeof question, format, args);
    va_end(args);
    fprintf(c->err, "%s [y/N] ", question);
    fflush(c->err);
    if (fgets(answer, sizeof answer, stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y'))
        return ctl_fail(c, CTL_FAILED, "nothing was changed");
    return CTL_OK;
}

enum ctl_exit change_post(struct ctl *c, const char *noun, const char *verb,
                          const struct change_field *fields, json_t **out_reply)
{
    struct query q;
    json_t *body = NULL;
    enum ctl_exit code = change_body(c, fields, &body);
    if (code != CTL_OK)
        return code;
    query_init(&q, noun);
    if (ctl_arg(c, 0) != NULL)
        query_part(&q, ctl_arg(c, 0));
    if (verb != NULL)
        query_part(&q, verb);
    code = client_call(c, "POST", query_path(&q), body, out_reply);
    query_deinit(&q);
    if (code == CTL_OK && ctl_bool(c, "dry-run"))
        ctl_note(c, "Dry run: nothing was changed.");
    return code;
}
