/* Requests that are composed from the last one: nobody can tell. */
#include <stdlib.h>
#include <string.h>

#include "common/base/rand.h"
#include "dataplane/upstream/lean_internal.h"
#include "tests/lib/fault.h"

#define SEED 20261122U

static size_t random_value(char *out, size_t max)
{
    static const char bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-/ .";
    size_t len = (size_t)rand_below(max + 1);
    for (size_t i = 0; i < len; i++)
        out[i] = bytes[rand_below(sizeof bytes - 1)];
    if (len > 0 && rand_below(40) == 0)
        out[rand_below(len)] = "\r\n\t :?\x01\x7f"[rand_below(8)];
    return len;
}

static void requests_are_composed_as_if_each_were_the_first(void **state)
{
    enum { FIELDS = 10 };
    static char after[] = " HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n";
    struct transport_origin *o = test_calloc(1, sizeof *o), *first = test_calloc(1, sizeof *first);
    char target[64] = "/v1", names[FIELDS][24], values[FIELDS][80];
    struct fetch_field fields[FIELDS];
    unsigned again = 0, refused = 0;
    (void)state;
    assert_true(o != NULL && first != NULL);
    o->after_target = first->after_target = after;
    o->after_target_bytes = first->after_target_bytes = sizeof after - 1;
    buf_init(&o->asked.text, FETCH_TEXT_BYTES_MAX);
    buf_init(&first->asked.text, FETCH_TEXT_BYTES_MAX);
    for (size_t i = 0; i < FIELDS; i++) {
        memcpy(names[i], "x-field-", 8);
        fields[i].name = (struct str){names[i], 8};
        fields[i].value = (struct str){values[i], random_value(values[i], 70)};
    }
    struct fetch_request r = {.method = STR("POST"), .target = {target, 3}, .fields = fields};
    struct str body = {NULL, 0};
    print_message("seed %u\n", SEED);
    rand_seed_thread(SEED);
    for (unsigned i = 0; i < 300000; i++) {
        struct str head, expected;
        const size_t k = (size_t)rand_below(FIELDS);
        switch (rand_below(16)) {
        case 0:
            r.method = rand_below(2) == 0 ? STR("POST") : STR("GET");
            break;
        case 1:
            r.target.len = 1 + random_value(target + 1, 40);
            break;
        case 2:
            fields[k].name.len = random_value(names[k], 20);
            break;
        case 3:
            fields[k].value.len = random_value(values[k], 70);
            break;
        case 4:
            if (fields[k].value.len > 0)
                values[k][rand_below(fields[k].value.len)] = (char)('a' + (char)rand_below(26));
            break;
        case 5:
            r.field_count = (size_t)rand_below(FIELDS + 1);
            break;
        default: /* The same again, with another body. */
            body.len = (size_t)rand_below(100000);
            r.body = &body;
            r.body_count = (size_t)rand_below(2);
            break;
        }
        first->asked.lasting_bytes = 0;
        const size_t lasting = o->asked.lasting_bytes;
        const int rc = lean_request_compose(o, &r, &head);
        assert_int_equal(rc, lean_request_compose(first, &r, &expected));
        assert_int_equal(rc, fetch_check_request(&r));
        if (rc == 0)
            assert_true(str_eq(head, expected));
        again += rc == 0 && lasting != 0 && o->asked.lasting_bytes == lasting;
        refused += rc != 0;
    }
    print_message("%u as the last one, %u refused\n", again, refused);
    assert_true(again > 20000 && refused > 20000);
    buf_deinit(&o->asked.text);
    buf_deinit(&first->asked.text);
    test_free(o);
    test_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_composed_as_if_each_were_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
