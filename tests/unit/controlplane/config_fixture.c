#include "tests/unit/controlplane/config_fixture.h"

#include <stdio.h>

#include "tests/lib/fault.h"

struct config *config_fixture_parse(const char *text)
{
    struct config *c = NULL;
    struct err err = {0};
    int rc = config_parse(str_from(text), "t.yaml", CONFIG_LOCAL_FILE, &c, NULL, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err.message);
    assert_int_equal(rc, 0);
    return c;
}

Steelyard__Control__V1__Catalogue *config_fixture_catalogue(const char *text)
{
    struct config *c = config_fixture_parse(text);
    struct buf body = {0};
    buf_init(&body, 1U << 20);
    assert_int_equal(config_catalogue(c, &body), 0);
    Steelyard__Control__V1__Catalogue *m =
        steelyard__control__v1__catalogue__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_non_null(m);
    buf_deinit(&body);
    config_destroy(c);
    return m;
}
