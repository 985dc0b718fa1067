/* Configurations of other programs from anywhere: no crash, bounded, a text that this program reads
 * (but for variables that are not set), and no byte that a terminal would obey. The first byte says
 * which program's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/config/config.h"
#include "controlplane/import/import.h"

/* libfyaml 0.7 loses a page when some files are refused; what is ours is counted below instead. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every line that is refused is so for a variable, or for what one would have given. */
static bool only_variables(struct str errors)
{
    struct str line;
    while (errors.len > 0) {
        (void)str_cut(errors, '\n', &line, &errors);
        if (line.len > 0 && str_search(line, STR("environment variable")) < 0 &&
            str_search(line, STR("\" is missing")) < 0 &&
            str_search(line, STR("more findings")) < 0)
            return false;
    }
    return true;
}

static void check_result(const struct import *i)
{
    struct config *c = NULL;
    struct buf errors = {0};
    struct err err = {0};
    buf_init(&errors, 1U << 20);
    int rc = config_parse(import_yaml(i), "result", CONFIG_LOCAL_FILE, &c, &errors, &err);
    if (rc != 0 && !(rc == ERR_SYNTAX && only_variables(buf_str(&errors))))
        abort();
    config_destroy(c);
    buf_deinit(&errors);
    for (size_t n = 0; n < import_finding_count(i); n++) {
        struct import_finding f = import_finding_at(i, n);
        for (size_t b = 0; b < f.text.len; b++) {
            if (f.text.data[b] < ' ' || f.text.data[b] >= 0x7f)
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t before = mem_live_bytes();
    struct import_options options = {.file = "fuzz"};
    struct import *i = NULL;
    struct err err = {0};
    if (size == 0)
        return 0;
    struct str text = {.data = (const char *)data + 1, .len = size - 1};
    enum import_format format = (enum import_format)(data[0] % 4);
    int rc = import_run(format, text, &options, &i, NULL, &err);
    if (rc == 0)
        check_result(i);
    else if (err.message[0] == '\0')
        abort(); /* Refused without saying why. */
    import_destroy(i);
    if (mem_live_bytes() != before)
        abort();
    return 0;
}
