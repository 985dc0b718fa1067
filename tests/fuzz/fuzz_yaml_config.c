/* steelyard.yaml from anywhere: no crash, bounded, and what is accepted packs and packs alike. */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "controlplane/config/config.h"

/* libfyaml 0.7 loses a page when some files are refused; what is ours is counted below instead. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t before = mem_live_bytes();
    struct config *c = NULL;
    struct buf errors = {0}, first = {0}, second = {0};
    struct err err = {0};
    struct str text = {.data = (const char *)data, .len = size};
    buf_init(&errors, 1U << 20);
    int rc = config_parse(text, "fuzz.yaml", CONFIG_REMOTE, &c, &errors, &err);
    if (rc == ERR_SYNTAX && (errors.len == 0 || err.message[0] == '\0'))
        abort(); /* Refused without saying why. */
    if (rc == 0) {
        buf_init(&first, 64U << 20);
        buf_init(&second, 64U << 20);
        if (config_catalogue(c, &first) != 0 || config_prices(c, &first) != 0 ||
            config_catalogue(c, &second) != 0 || config_prices(c, &second) != 0 ||
            !str_eq(buf_str(&first), buf_str(&second)))
            abort();
        for (size_t i = 0; i < config_policy_count(c); i++) {
            buf_clear(&first);
            if (config_params(c, i, &first) != 0)
                abort();
        }
    }
    buf_deinit(&errors);
    buf_deinit(&first);
    buf_deinit(&second);
    config_destroy(c);
    if (mem_live_bytes() != before)
        abort();
    return 0;
}
