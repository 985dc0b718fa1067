/* Whatever answers for etcd: no crash, nothing kept, and nobody leads or hears by half an answer.
 * The first byte says which question was asked, the second the status; the rest is the body. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/leader/words.h"

static struct election_key keys[ETCD_KEYS_MAX];
static struct words_heard heard;

static void check_answer(enum election_ask ask, unsigned status, struct str body)
{
    struct election_answer a;
    int64_t before = 0;
    etcd_answer(ask, status, body, keys, &a);
    if (a.key_count > ETCD_KEYS_MAX || (a.status != 0 && (a.key_count > 0 || a.lease != 0)) ||
        (a.status == 0 && status != 200) ||
        (ask == ELECTION_GRANT && a.status == 0 && a.lease <= 0))
        abort();
    for (uint32_t i = 0; i < a.key_count; i++) {
        if ((unsigned)a.keys[i].role >= LEADER_ROLES || a.keys[i].create_revision <= 0 ||
            a.keys[i].create_revision < before)
            abort();
        before = a.keys[i].create_revision;
    }
}

static void check_words(unsigned status, struct str body)
{
    int rc = words_list_answer(status, body, &heard);
    if (heard.count > WORDS_MAX || (rc != 0 && heard.count > 0) || (rc == 0 && heard.revision <= 0))
        abort();
    for (size_t i = 0; i < heard.count; i++) {
        if (heard.word[i].created <= 0 || strlen(heard.word[i].name) >= WORDS_NAME_BYTES ||
            strlen(heard.word[i].value) >= WORDS_VALUE_BYTES)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned statuses[] = {200, 404, 503, 0};
    uint64_t before = mem_live_bytes();
    if (size < 2)
        return 0;
    struct str body = {.data = (const char *)data + 2, .len = size - 2};
    unsigned status = statuses[data[1] % 4];
    if (data[0] % 6 == 5)
        check_words(status, body);
    else
        check_answer((enum election_ask)(data[0] % 6), status, body);
    if (mem_live_bytes() != before)
        abort();
    return 0;
}
