#include "controlplane/rollout/aborts.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "controlplane/rollout/store.h"

#define FILE_BYTES_MAX (1U << 20)

static int read_item(const json_t *value, struct abort_wish *out)
{
    const char *actor = json_string_value(json_object_get(value, "actor"));
    const char *reason = json_string_value(json_object_get(value, "reason"));
    *out = (struct abort_wish){.id = json_integer_value(json_object_get(value, "id")),
                               .ts_us = json_integer_value(json_object_get(value, "ts_us"))};
    bool ok = out->id > 0 && out->ts_us > 0 && actor != NULL && reason != NULL &&
              str_copy(str_from(actor), out->actor, sizeof out->actor) &&
              str_copy(str_from(reason), out->reason, sizeof out->reason);
    return ok ? 0 : ERR_CORRUPT;
}

int aborts_load(struct aborts *a, const char *state_dir, struct err *err)
{
    struct buf file = {0};
    memset(a, 0, sizeof *a);
    if (state_dir == NULL)
        return 0;
    if (snprintf(a->path, sizeof a->path, "%s/rollout-aborts.json", state_dir) >=
        (int)sizeof a->path)
        return err_set(err, ERR_TOO_LARGE, "--state-dir is too long");
    if (access(a->path, F_OK) != 0)
        return 0;
    buf_init(&file, FILE_BYTES_MAX);
    int rc = buf_read_file(&file, a->path, FILE_BYTES_MAX, err);
    json_t *list = rc == 0 ? json_loadb(file.data, file.len, 0, NULL) : NULL;
    if (rc == 0 && (!json_is_array(list) || json_array_size(list) > ABORTS_MAX))
        rc = ERR_CORRUPT;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        rc = read_item(json_array_get(list, i), &a->item[a->count]);
        a->count += rc == 0;
    }
    if (rc == ERR_CORRUPT)
        rc = err_set(err, rc, "%s is damaged: remove it after a look", a->path);
    json_decref(list);
    buf_deinit(&file);
    return rc;
}

static json_t *pack(const struct abort_wish *w)
{
    return json_pack("{s:I, s:I, s:s, s:s}", "id", (json_int_t)w->id, "ts_us", (json_int_t)w->ts_us,
                     "actor", w->actor, "reason", w->reason);
}

int aborts_write_wish(const struct abort_wish *wish, struct buf *out)
{
    json_t *value = pack(wish);
    char *text = value != NULL ? rollout_dump(value) : NULL;
    int rc = text != NULL ? buf_append_text(out, text) : ERR_NOMEM;
    rollout_dump_free(text);
    json_decref(value);
    return rc;
}

int aborts_read_wish(struct str text, struct abort_wish *out)
{
    json_t *value = json_loadb(text.data == NULL ? "" : text.data, text.len, 0, NULL);
    int rc = json_is_object(value) ? read_item(value, out) : ERR_CORRUPT;
    json_decref(value);
    return rc;
}

static int save(const struct aborts *a, struct err *err)
{
    if (a->path[0] == '\0')
        return 0;
    json_t *list = json_array();
    int rc = list == NULL ? ERR_NOMEM : 0;
    for (size_t i = 0; rc == 0 && i < a->count; i++) {
        const struct abort_wish *w = &a->item[i];
        rc = json_array_append_new(list, pack(w)) != 0 ? ERR_NOMEM : 0;
    }
    char *text = rc == 0 ? rollout_dump(list) : NULL;
    if (text == NULL)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    else
        rc = buf_write_file(str_from(text), a->path, 0600, err);
    rollout_dump_free(text);
    json_decref(list);
    return rc;
}

static size_t find(const struct aborts *a, int64_t id)
{
    size_t i = 0;
    while (i < a->count && a->item[i].id != id)
        i++;
    return i;
}

bool aborts_has(const struct aborts *a, int64_t id)
{
    return find(a, id) < a->count;
}

int aborts_add(struct aborts *a, const struct abort_wish *wish, struct err *err)
{
    if (aborts_has(a, wish->id))
        return 0;
    if (a->count == ABORTS_MAX)
        return err_set(err, ERR_LIMIT, "%u aborts wait to be written already", ABORTS_MAX);
    a->item[a->count++] = *wish;
    return save(a, err);
}

void aborts_remove(struct aborts *a, int64_t id)
{
    struct err ignored = {0};
    size_t i = find(a, id);
    if (i == a->count)
        return;
    a->item[i] = a->item[--a->count];
    int rc = save(a, &ignored);
    (void)rc; /* It is tried once more after a restart, and then found to have been done. */
}
