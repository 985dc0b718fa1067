/* media.h: pictures, files and sound by value: data URLs (RFC 2397), base64, and what bytes really
 * are by how they begin, since providers refuse a wrong media_type. Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_MEDIA_H
#define STEELYARD_DATAPLANE_TRANSLATE_MEDIA_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/json/json_writer.h"
#include "dataplane/translate/neutral.h"

/* "data:image/png;base64,..." -> mime and base64. False: no data URL, or not in base64. */
bool tr_media_read_data_url(struct str url, struct tr_media *out);
bool tr_media_is_data_url(struct str url);
int tr_media_print_data_url(const struct tr_media *media, struct buf *out) MUST_CHECK;
void tr_media_put_data_url(struct json_writer *w, const struct tr_media *media); /* A string. */

/* By magic bytes: "image/png", "application/pdf", "audio/wav", ...; empty: not one we know. */
struct str tr_media_sniff(struct str base64);
/* What the bytes are, else what was declared, else by the end of its name or URL; perhaps empty. */
struct str tr_media_mime(const struct tr_media *media);
/* "image/jpeg" -> "jpeg", "audio/mpeg" -> "mp3", "application/pdf" -> "pdf", "text/plain" -> "txt",
 * ...; empty: none is known. And back. */
struct str tr_media_format(struct str mime);
struct str tr_media_of_format(struct str format);
/* The first bytes; returns how many were decoded (at most max), 0 also if it is no base64. */
size_t tr_media_head(struct str base64, size_t max, uint8_t *out);
/* All of it, where a dialect wants text. ERR_INVALID: no base64. */
int tr_media_decode(struct str base64, struct arena *arena, struct str *out) MUST_CHECK;

#endif
