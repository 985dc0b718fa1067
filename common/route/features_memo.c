#include "common/route/features_memo.h"

#include <assert.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/route/features_internal.h"

#define SYSTEMS     256U /* System prompts that are kept: a slot is named by the hash. */
/* Where fewer of WINDOW calls than one in WORTH are found again, looking and keeping costs more
 * than it saves, and only one text in SAMPLED is looked up until more are found. */
#define WINDOW      256U
#define WORTH       16U
#define SAMPLE_BITS 3U
#define SAMPLED     (1U << SAMPLE_BITS)

/* Kinds and lengths of the parts that are not empty and their hashes, in a fixed order. */
enum part { PART_SYSTEM, PART_HEAD, PART_TAIL, PART_ALIAS, PART_SEGMENT, PART_TOOL };
#define PART_SHIFT 56 /* No part is as long. */
#define PARTS_MAX  (5 + FEATURES_TOOLS_MAX)
struct digest {
    uint64_t words[2 * PARTS_MAX + 4];
    size_t n;
};

struct slot {
    uint64_t key;  /* 0: empty. */
    uint64_t used; /* When it last was, in calls of the memo. */
    struct features_counts counts;
    uint16_t n;
    uint16_t index[FEATURES_SPARSE_MAX];
};

struct system_slot {
    uint64_t key;
    uint64_t hash; /* features_system_hash */
};

struct features_memo {
    struct hash_text_key text_key;
    struct siphash_key key;
    uint64_t hits;
    uint64_t calls;
    uint32_t looked, found; /* Of this window. */
    bool sampling;
    struct system_slot systems[SYSTEMS];
    uint32_t mask;
    struct slot slots[];
};

struct features_memo *features_memo_create(uint32_t slots)
{
    assert(slots > 0 && (slots & (slots - 1)) == 0);
    struct features_memo *m = mem_calloc(1, sizeof *m + slots * sizeof m->slots[0]);
    if (m == NULL)
        return NULL;
    hash_text_key_init(&m->text_key, (struct siphash_key){rand_u64(), rand_u64()});
    m->key = (struct siphash_key){rand_u64(), rand_u64()};
    m->mask = slots - 1;
    return m;
}

void features_memo_destroy(struct features_memo *m)
{
    mem_free(m);
}

uint64_t features_memo_hits(const struct features_memo *m)
{
    return m->hits;
}

static void digest_add(struct digest *d, const struct features_memo *m, enum part part,
                       struct str text)
{
    if (text.len == 0)
        return;
    d->words[d->n++] = (uint64_t)part << PART_SHIFT | text.len;
    d->words[d->n++] = hash_text(&m->text_key, text.data, text.len);
}

/* Never 0. */
static uint64_t digest_end(const struct digest *d, const struct features_memo *m)
{
    uint64_t key = siphash_1_3(m->key, d->words, d->n * sizeof d->words[0]);
    return key != 0 ? key : 1;
}

static uint64_t system_hash(struct features_memo *m, const struct features_hasher *hasher,
                            uint64_t owner, const struct features_input *input,
                            const struct digest *d)
{
    const uint64_t words[] = {owner,       hasher->key.k0, hasher->key.k1,
                              d->words[0], d->words[1],    input->system_bytes};
    uint64_t key = siphash_1_3(m->key, words, sizeof words) | 1;
    struct system_slot *s = &m->systems[(key >> 32) % SYSTEMS];
    if (s->key != key) {
        s->hash = features_system_hash(hasher, input);
        s->key = key;
    }
    return s->hash;
}

/* The call's slot, or the one of two that was not used for longer. */
static struct slot *find_slot(struct features_memo *m, uint64_t key)
{
    const uint32_t i = (uint32_t)(key >> 32);
    struct slot *a = &m->slots[i & m->mask], *b = &m->slots[(i ^ 1) & m->mask];
    if (a->key == key)
        return a;
    if (b->key == key)
        return b;
    return a->used <= b->used ? a : b;
}

static uint64_t load_up_to_8(const char *from, size_t len)
{
    uint64_t word = 0;
    memcpy(&word, from, len < sizeof word ? len : sizeof word);
    return word;
}

/* The same for the same text, so that one which comes again is looked up again. */
static bool is_sampled(struct str text)
{
    if (text.len == 0)
        return true;
    const size_t last = text.len < 8 ? 0 : text.len - 8;
    const uint64_t mixed = load_up_to_8(text.data, text.len) ^ text.len << 48 ^
                           load_up_to_8(text.data + last, text.len - last) << 24;
    return mixed * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SAMPLE_BITS) == 0;
}

static void note_look(struct features_memo *m, bool hit)
{
    m->hits += hit;
    m->found += hit;
    if (++m->looked < (m->sampling ? WINDOW / SAMPLED : WINDOW))
        return;
    m->sampling = m->found < m->looked / WORTH;
    m->looked = m->found = 0;
}

void features_memo_extract(struct features_memo *m, const struct features_hasher *hasher,
                           uint64_t owner, const struct features_input *input,
                           struct features *out_features)
{
    if (m == NULL) {
        features_extract(hasher, input, out_features);
        return;
    }
    struct features_window w = features_window_of(input->text);
    __attribute__((uninitialized)) struct digest d;
    d.n = 0;
    digest_add(&d, m, PART_SYSTEM, input->system_prompt); /* First: system_hash() looks there. */
    if (m->sampling && !is_sampled(w.head)) {
        struct features_counts counts;
        uint64_t hash = input->system_prompt.len > 0 ? system_hash(m, hasher, owner, input, &d) : 0;
        features_extract_window(features_best, hasher, input, &w, hash, out_features, &counts);
        return;
    }
    digest_add(&d, m, PART_HEAD, w.head);
    digest_add(&d, m, PART_TAIL, w.tail);
    digest_add(&d, m, PART_ALIAS, input->alias);
    digest_add(&d, m, PART_SEGMENT, input->segment);
    for (uint32_t i = 0; i < input->tool_count && i < FEATURES_TOOLS_MAX; i++)
        digest_add(&d, m, PART_TOOL, input->tools[i]);
    d.words[d.n++] = input->system_bytes;
    d.words[d.n++] = owner;
    d.words[d.n++] = hasher->key.k0;
    d.words[d.n++] = hasher->key.k1;
    uint64_t key = digest_end(&d, m);
    struct slot *s = find_slot(m, key);
    s->used = ++m->calls;
    note_look(m, s->key == key);
    if (s->key == key) {
        out_features->n = s->n;
        memcpy(out_features->index, s->index, s->n * sizeof s->index[0]);
        features_fill_dense(input, &s->counts, out_features->dense);
        return;
    }
    uint64_t hash = input->system_prompt.len > 0 ? system_hash(m, hasher, owner, input, &d) : 0;
    features_extract_window(features_best, hasher, input, &w, hash, out_features, &s->counts);
    s->key = key;
    s->n = out_features->n;
    memcpy(s->index, out_features->index, s->n * sizeof s->index[0]);
}
