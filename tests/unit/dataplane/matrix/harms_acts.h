/* harms_acts.h: how each misbehaviour is done: the bytes of a reply, and what the provider does
 * then. All have the signature of harm.act. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_HARMS_ACTS_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_HARMS_ACTS_H

#include "tests/unit/dataplane/matrix/harms.h"

bool harm_bytes_then_close(const struct harm_scene *s, struct harm_act *a);
bool harm_bytes_then_reset(const struct harm_scene *s, struct harm_act *a);
bool harm_big_head(const struct harm_scene *s, struct harm_act *a);
bool harm_endless_1xx(const struct harm_scene *s, struct harm_act *a);
bool harm_two_1xx(const struct harm_scene *s, struct harm_act *a);
bool harm_short_body(const struct harm_scene *s, struct harm_act *a);
bool harm_no_last_chunk(const struct harm_scene *s, struct harm_act *a);
bool harm_before_content(const struct harm_scene *s, struct harm_act *a);
bool harm_extra_bytes(const struct harm_scene *s, struct harm_act *a);
bool harm_bad_chunk(const struct harm_scene *s, struct harm_act *a);
bool harm_with_field(const struct harm_scene *s, struct harm_act *a);
bool harm_both_framings(const struct harm_scene *s, struct harm_act *a);
bool harm_status_line(const struct harm_scene *s, struct harm_act *a);
bool harm_error_status(const struct harm_scene *s, struct harm_act *a);
bool harm_html_status(const struct harm_scene *s, struct harm_act *a);
bool harm_byte_chunks(const struct harm_scene *s, struct harm_act *a);
bool harm_event_flood(const struct harm_scene *s, struct harm_act *a);
bool harm_silent(const struct harm_scene *s, struct harm_act *a);
bool harm_line_ends(const struct harm_scene *s, struct harm_act *a);
bool harm_with_prefix(const struct harm_scene *s, struct harm_act *a);
bool harm_no_newline(const struct harm_scene *s, struct harm_act *a);
bool harm_bad_json(const struct harm_scene *s, struct harm_act *a);
bool harm_huge_event(const struct harm_scene *s, struct harm_act *a);
bool harm_error_event(const struct harm_scene *s, struct harm_act *a);
bool harm_no_end(const struct harm_scene *s, struct harm_act *a);
bool harm_data_after_end(const struct harm_scene *s, struct harm_act *a);
bool harm_no_stream(const struct harm_scene *s, struct harm_act *a);
bool harm_whole_body(const struct harm_scene *s, struct harm_act *a);
bool harm_whole_error(const struct harm_scene *s, struct harm_act *a);
bool harm_usage(const struct harm_scene *s, struct harm_act *a);
bool harm_no_tls(const struct harm_scene *s, struct harm_act *a);
bool harm_private_address(const struct harm_scene *s, struct harm_act *a);
bool harm_limited(const struct harm_scene *s, struct harm_act *a);

#endif
