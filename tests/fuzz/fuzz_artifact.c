/* A policy file of any bytes: decoded, self-tested, decided with and encoded vectors read back.
 * The checksum is put right first, or nothing behind it would ever be reached. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/route/explain.h"
#include "common/route/selftest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct artifact *a)
{
    enum artifact_reason reason;
    struct selftest_vector v;
    struct policy_decision d;
    struct explain_terms terms;
    struct explain_threshold threshold;
    if (a->selftest.len < 4)
        return;
    (void)!selftest_run(a, &reason, NULL);
    struct str rest = str_slice(a->selftest, 4, a->selftest.len);
    (void)artifact_word(a, 900);
    while (selftest_decode(&rest, a->model_count, &v) == 0) {
        const struct explain_input in = {a,          &v.features,  &v.params,
                                         &v.request, v.candidates, v.count};
        if (explain_recompute(&in, NULL, &d) != 0)
            continue;
        explain_threshold(&in, &d, &threshold);
        explain_terms(&in, &d, d.chosen, POLICY_NONE, &terms);
        (void)policy_refusal(&d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct buf file;
    if (size > ARTIFACT_BYTES_MAX)
        return 0;
    buf_init(&file, ARTIFACT_BYTES_MAX);
    if (buf_append(&file, data, size) == 0 && size >= ARTIFACT_HEADER_BYTES) {
        struct sha256 digest =
            digest_sha256(data + ARTIFACT_HEADER_BYTES, size - ARTIFACT_HEADER_BYTES);
        memcpy(file.data + 24, digest.bytes, SHA256_BYTES);
        for (unsigned i = 0; i < 8; i++)
            file.data[16 + i] = (char)(uint8_t)((size - ARTIFACT_HEADER_BYTES) >> (8 * i));
    }
    if (artifact_decode(buf_str(&file), &a, &reason, NULL) == 0)
        use(a);
    artifact_destroy(a);
    buf_deinit(&file);
    return 0;
}
