#include "dataplane/llm/print.h"

#include <string.h>

#include "common/base/hash.h"

uint64_t prints_note(struct prints *prints, struct str model, struct str system)
{
    char text[PRINT_BYTES_MAX];
    size_t len = model.len < sizeof text ? model.len : sizeof text;
    if (len > 0)
        memcpy(text, model.data, len);
    if (system.len > 0 && sizeof text - len > 1) {
        text[len++] = ' ';
        size_t more = system.len < sizeof text - len ? system.len : sizeof text - len;
        memcpy(text + len, system.data, more);
        len += more;
    }
    if (len == 0)
        return 0;
    uint64_t print = siphash_1_3((struct siphash_key){0, 0}, text, len);
    print += print == 0;
    unsigned at = (unsigned)(print % PRINTS_KEPT);
    if (prints != NULL && prints->kept[at].print != print) {
        prints->kept[at].print = print;
        prints->kept[at].len = (uint8_t)len;
        memcpy(prints->kept[at].text, text, len);
    }
    return print;
}

struct str prints_text(const struct prints *prints, uint64_t print)
{
    unsigned at = (unsigned)(print % PRINTS_KEPT);
    if (print == 0 || prints->kept[at].print != print)
        return STR_NULL;
    return (struct str){.data = prints->kept[at].text, .len = prints->kept[at].len};
}
