#include "common/route/picked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "telemetry.pb-c.h"

/* "NOTE_DROPPED_SEED" from "dropped_seed". */
static const char *enum_name(const char *prefix, const char *text, char *out, size_t bytes)
{
    size_t at = (size_t)snprintf(out, bytes, "%s", prefix);
    for (; *text != '\0' && at + 1 < bytes; text++)
        out[at++] = (char)(*text >= 'a' && *text <= 'z' ? *text - ('a' - 'A')
                           : *text == '.'               ? '_'
                                                        : *text);
    out[at] = '\0';
    return out;
}

static void the_tables_are_those_of_the_record(void **state)
{
    (void)state;
    static const char *const by[] = {
#define X(name, text) "PICKED_" #name,
        PICKED_BY_TABLE(X)
#undef X
    };
    static const char *const passed[] = {
#define X(name, text) "PASSED_" #name,
        PICKED_PASSED_TABLE(X)
#undef X
    };
    char name[96];
    for (int i = 0; i < PICKED_BYS; i++) {
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
            &steelyard__telemetry__v1__picked_by__descriptor, i);
        assert_string_equal(v->name, by[i]);
        assert_true(picked_by_name((uint32_t)i)[0] != '\0');
    }
    assert_null(protobuf_c_enum_descriptor_get_value(
        &steelyard__telemetry__v1__picked_by__descriptor, PICKED_BYS));
    for (int i = 0; i < PICKED_PASSES; i++)
        assert_string_equal(protobuf_c_enum_descriptor_get_value(
                                &steelyard__telemetry__v1__passed_over__descriptor, 1 << i)
                                ->name,
                            passed[i]);
    assert_null(protobuf_c_enum_descriptor_get_value(
        &steelyard__telemetry__v1__passed_over__descriptor, 1 << PICKED_PASSES));
    for (int i = 0; i < (int)PICKED_NOTES; i++)
        assert_string_equal(protobuf_c_enum_descriptor_get_value(
                                &steelyard__telemetry__v1__translation_note__descriptor, i)
                                ->name,
                            enum_name("NOTE_", picked_note_name((uint32_t)i), name, sizeof name));
    assert_null(protobuf_c_enum_descriptor_get_value(
        &steelyard__telemetry__v1__translation_note__descriptor, (int)PICKED_NOTES));
    assert_null(picked_note_name(PICKED_NOTES));
    assert_null(picked_passed_name(PICKED_PASSES));
    assert_string_equal(picked_by_name(PICKED_BYS), "unknown");
}

static void every_note_has_a_bit(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PICKED_NOTES; i++)
        assert_true(picked_note_bit(str_from(picked_note_name(i))) == UINT64_C(1) << i);
    assert_true(picked_note_bit(STR("dropped_frobnication")) == 2);
    assert_true(picked_note_bit(STR("turned_over")) == 1);
    assert_true(picked_note_bit(STR("")) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_are_those_of_the_record),
        cmocka_unit_test(every_note_has_a_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
