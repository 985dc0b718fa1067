/* admin_fixture.h: the admin API with its worker threads and trainer over a private database,
 * served from a thread of its own; requests are made by blocking calls. */
#ifndef STEELYARD_TESTS_UNIT_CONTROLPLANE_ADMIN_FIXTURE_H
#define STEELYARD_TESTS_UNIT_CONTROLPLANE_ADMIN_FIXTURE_H

#include <jansson.h>
#include <uv.h>

#include "controlplane/config/config.h"

#define ADMIN_KEY "test-operator-key-0123456789"

void admin_fixture_start(const char *conninfo, const char *yaml);
void admin_fixture_stop(void);
/* The file is read again, as after a restart. */
void admin_fixture_apply(const char *conninfo, const char *yaml);
const struct config_keys *admin_fixture_keys(void);

/* Status, and the body as JSON (NULL when it is none); key NULL: without credentials. text may be
 * NULL, else gets the raw body. */
unsigned admin_ask_as(const char *key, const char *method, const char *path, const char *body,
                      json_t **out_json, char *out_text, size_t text_bytes);
/* With the right key; fails the test unless the status is as expected. The caller frees. */
json_t *admin_ask(const char *method, const char *path, const char *body, unsigned expected);

#endif
