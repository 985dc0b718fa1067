/* Frames of AWS event streams: however the input is cut, the same frames come of it and the same is
 * wrong with it. The first bit of the input says whether checksums are put right before, so that
 * what lies behind them is reached, too. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/aws_frames.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static uint32_t take_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_u32(uint8_t *at, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void repair(uint8_t *data, size_t size)
{
    for (size_t at = 0; size - at >= 16;) {
        put_u32(data + at + 8, aws_frames_crc(data + at, 8));
        size_t total = take_u32(data + at);
        if (total < 16 || total > size - at)
            return;
        put_u32(data + at + total - 4, aws_frames_crc(data + at, total - 4));
        at += total;
    }
}

struct run {
    struct aws_frames frames;
    uint64_t digest;
    unsigned count;
};

static void note(struct run *run, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        run->digest = (run->digest ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
}

static void feed(struct run *run, struct str piece)
{
    struct tr_frame frame;
    while (aws_frames.next(&run->frames, &piece, &frame)) {
        note(run, frame.name);
        note(run, frame.data);
        run->digest = run->digest * 31 + frame.exception;
        run->count++;
    }
    check(piece.len == 0 || aws_frames.status(&run->frames) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole = {.count = 0}, cut = {.count = 0};
    if (size < 1 || size > 65536)
        return 0;
    size_t step = 1 + (data[0] >> 1), length = size - 1;
    uint8_t *bytes = mem_alloc(size);
    check(bytes != NULL);
    memcpy(bytes, data + 1, length);
    if ((data[0] & 1) != 0)
        repair(bytes, length);
    struct str input = {(const char *)bytes, length};
    feed(&whole, input);
    for (size_t at = 0; at < length; at += step)
        feed(&cut, str_slice(input, at, at + step));
    check(whole.count == cut.count && whole.digest == cut.digest);
    check(aws_frames.status(&whole.frames) == aws_frames.status(&cut.frames));
    if (aws_frames.status(&whole.frames) == 0)
        check(aws_frames.is_cut(&whole.frames) == aws_frames.is_cut(&cut.frames));
    aws_frames.deinit(&whole.frames);
    aws_frames.deinit(&cut.frames);
    mem_free(bytes);
    return 0;
}
